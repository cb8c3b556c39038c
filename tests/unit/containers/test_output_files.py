"""What containers of jobs have written is read without a step out of their directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emulator.containers.output_files import DEEPEST, OutputFile, files_below


def read(file: OutputFile) -> str:
    return file.link if file.content is None else file.content.read().decode()


def found(root: Path, path: str) -> dict[str, tuple[str, str]]:
    return {file.name: (file.kind, read(file)) for file in files_below(root, path)}


def test_files_directories_and_links_come_in_order(tmp_path: Path) -> None:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "deep" / "a").write_text("text")
    (tmp_path / "model" / "link").symlink_to("deep/a")
    (tmp_path / "model" / "out").symlink_to("/etc")
    os.mkfifo(tmp_path / "model" / "pipe")
    assert list(found(tmp_path, "model").items()) == [
        ("deep", ("directory", "")),
        ("deep/a", ("file", "text")),
        ("link", ("link", "deep/a")),
        ("out", ("link", "/etc")),
    ]


@pytest.mark.parametrize("replaced", ["", "output", "output/data"])
def test_a_directory_that_was_replaced_by_a_link_has_nothing(tmp_path: Path, replaced: str) -> None:
    secret = tmp_path / "secret" / "output" / "data"
    secret.mkdir(parents=True)
    (secret / "key").write_text("secret")
    place = tmp_path / "ml" / replaced
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(tmp_path / "secret" / replaced)
    assert found(tmp_path / "ml", "output/data") == {}


@pytest.mark.parametrize("other", ["nothing", "file", "file/model"])
def test_what_is_no_directory_has_nothing(tmp_path: Path, other: str) -> None:
    (tmp_path / "file").write_text("text")
    assert found(tmp_path, other) == {}
    assert found(tmp_path / other, "model") == {}


def test_directories_within_each_other_have_an_end(tmp_path: Path) -> None:
    place = tmp_path / "model"
    for _ in range(DEEPEST + 2):
        place = place / "d"
    place.mkdir(parents=True)
    with pytest.raises(OSError, match="too many directories above it"):
        list(files_below(tmp_path, "model"))
