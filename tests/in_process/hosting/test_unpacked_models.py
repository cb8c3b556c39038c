"""``serve --unpacked --reload``: directories in place of archives, whose files are edited between calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.support.aws_clients import refused
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.processes import open_files_and_threads
from tests.support.waiting import eventually

EDITS = 20
HANDLER = """
import os
from helper import answer

def handle(data, context):
    return [f"{answer()} {os.getpid()}"] if data else None
"""


@pytest.fixture
def porto(bucket: Path) -> Path:
    """The directory of a model."""
    (bucket / "porto" / "code").mkdir(parents=True)
    (bucket / "porto" / "code" / "inference.py").write_text(HANDLER)
    answers(bucket / "porto", "first")
    return bucket / "porto"


@pytest.fixture
def emulator(serve: Callable[..., InProcessEmulator], porto: Path) -> InProcessEmulator:
    return serve("--models", str(porto.parent), "--unpacked", "--reload")


def answers(model: Path, expression: str) -> None:
    (model / "code" / "helper.py").write_text(f"def answer(): return {expression!r}\n")


def answer(emulator: InProcessEmulator) -> str:
    return emulator.invoke("porto.tar.gz").decode()


def kept(emulator: InProcessEmulator) -> tuple[int, int, int]:
    """How many processes there are, how many files they have open, and how many models are on the volume."""
    processes, files = 0, 0
    for process in emulator.processes():
        with suppress(OSError, psutil.Error):  # it has just ended
            files += open_files_and_threads(process)[0]
            processes += 1
    (volume,) = emulator.state_directory.rglob("models")
    return processes, files, len(list(volume.iterdir()))


def test_edits_are_answered_at_the_next_call_and_leave_nothing(emulator: InProcessEmulator, porto: Path) -> None:
    assert answer(emulator).startswith("first ")
    first = kept(emulator)
    assert first[2] == 1
    pids = set()
    for number in range(100, 100 + EDITS):
        answers(porto, str(number))
        found, pid = answer(emulator).split()
        assert found == str(number)
        assert answer(emulator).split() == [found, pid]  # nothing has changed
        pids.add(pid)
    assert len(pids) == EDITS
    eventually(
        lambda: all(now <= then for now, then in zip(kept(emulator), first)), what="it has no more than at first"
    )


@pytest.mark.parametrize(
    "broken, words",
    [
        ("import a_module_yet_to_be_written\n", "No module named 'a_module_yet_to_be_written'"),
        ("def handle(data, context:\n", "SyntaxError"),
    ],
)
def test_a_handler_that_cannot_be_imported_answers_so_until_it_is_mended(
    emulator: InProcessEmulator, porto: Path, broken: str, words: str
) -> None:
    assert answer(emulator).startswith("first ")
    (porto / "code" / "inference.py").write_text(broken)
    for _ in range(2):
        with pytest.raises(ClientError, match=words):
            answer(emulator)
    (porto / "code" / "inference.py").write_text(HANDLER)
    answers(porto, "second")
    assert answer(emulator).startswith("second ")


def test_a_link_out_of_the_directory_is_refused_until_it_is_gone(emulator: InProcessEmulator, porto: Path) -> None:
    (porto / "secrets").symlink_to("/etc/passwd")
    error = refused(answer, emulator)
    assert error.code == "ValidationError" and "The link 'secrets' may lead outside the model" in error.message
    (porto / "secrets").unlink()
    assert answer(emulator).startswith("first ")
