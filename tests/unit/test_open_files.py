"""How many files the emulator may have open: as many as the system allows, and what is said when that is too few."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emulator.archives.directory_source import DirectorySource
from emulator.aws.errors import AwsError
from emulator.storage.listing import KeyTree
from emulator.storage.object_store import open_store

PROBE = """
import resource
from emulator.open_files import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize("soft, hard, limit", [(256, 256, 256), (256, 2000, 2000), (1500, 2000, 2000)])
def test_the_limit_is_raised_as_far_as_it_may(soft: int, hard: int, limit: int) -> None:
    probe = [sys.executable, "-c", PROBE.format(soft=soft, hard=hard)]
    assert subprocess.run(probe, capture_output=True, text=True, check=True).stdout.split() == [str(limit)] * 2


NEARLY = """
import os, resource
from emulator.open_files import SPARE, is_nearly_exhausted
free = os.open(os.devnull, os.O_RDONLY)
os.close(free)
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
for left in (SPARE, SPARE - 1, 0):
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + left, hard))
    print(is_nearly_exhausted())
"""


def test_few_that_are_left_are_noticed() -> None:
    found = subprocess.run([sys.executable, "-c", NEARLY], capture_output=True, text=True, check=True).stdout.split()
    assert found == ["False", "True", "True"]


def test_too_many_open_files_are_no_missing_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "a.tar.gz").write_bytes(b"x")
    store = open_store(tmp_path, "us-east-1")

    def exhausted(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", exhausted)
    monkeypatch.setattr(os, "scandir", exhausted)
    with pytest.raises(OSError, match="Too many open files"):
        store.open("bucket", "a.tar.gz")
    with pytest.raises(OSError):
        list(KeyTree(tmp_path / "bucket").keys("", ""))
    with pytest.raises(AwsError, match="ulimit -n"), DirectorySource(tmp_path / "bucket").open("a.tar.gz"):
        pass
    store.close()
