"""What the environment of a requirements.txt depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.model_server.handlers import requirements

FILES = {
    "requirements.txt": "-r more.txt\n./wheels/a.whl\npackage @ ./source\n--find-links=found\n",
    "more.txt": "-c limits.txt",
    "limits.txt": "numpy<3",
    "wheels/a.whl": "a",
    "source/setup.py": "",
    "source/deep/module.py": "",
    "found/b.whl": "b",
}


def write(directory: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(directory / "requirements.txt")


@pytest.mark.parametrize("changed", FILES)
def test_it_depends_on_the_file_and_on_what_the_file_names(tmp_path: Path, changed: str) -> None:
    one, same = (write(tmp_path / name, FILES) for name in ("one", "same"))
    other = write(tmp_path / "other", {**FILES, changed: FILES[changed] + "#"})
    assert requirements.fingerprint(one, "3.10") == requirements.fingerprint(same, "3.10")
    assert requirements.fingerprint(one, "3.10") != requirements.fingerprint(other, "3.10")


def test_it_depends_on_the_python_and_on_nothing_else(tmp_path: Path) -> None:
    own = {"requirements.txt": "../outside.txt /etc/passwd numpy\n", "inference.py": "", "../outside.txt": ""}
    file = write(tmp_path / "code", own)
    before = requirements.fingerprint(file, "3.10")
    assert requirements.fingerprint(file, "3.11") != before
    write(tmp_path / "code", {"inference.py": "changed", "../outside.txt": "changed"})
    assert requirements.fingerprint(file, "3.10") == before


def test_the_one_in_code_is_installed_before_another(tmp_path: Path) -> None:
    assert requirements.to_install(str(tmp_path)) is None
    write(tmp_path, {"requirements.txt": ""})
    assert requirements.to_install(str(tmp_path)) == "requirements.txt"
    write(tmp_path, {"code/requirements.txt": ""})
    assert requirements.to_install(str(tmp_path)) == "code/requirements.txt"
