"""What the environment of a requirements.txt depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.model_server.handlers import requirements

FILES = {
    "requirements.txt": "-rmore.txt\n./a.whl#sha256=0\npackage @ ./source\n--find-links=found\n-e ./other[extra]\n",
    "more.txt": "--constraint=limits.txt",
    "limits.txt": "numpy<3",
    "a.whl": "a",
    "source/setup.py": "",
    "source/deep/module.py": "",
    "found/b.whl": "b",
    "other/setup.py": "",
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


def test_it_depends_on_the_names_in_a_directory(tmp_path: Path) -> None:
    one, other = (write(tmp_path / name, {"requirements.txt": ".", f"{name}.py": ""}) for name in ("one", "other"))
    assert requirements.fingerprint(one) != requirements.fingerprint(other)


@pytest.mark.parametrize(
    "line", ["#" + "-" * 300, f"https://s3/{'a' * 300}", "a" * 1_200_000, "# see model.bin", "numpy  # not model.bin"]
)
def test_it_reads_nothing_for_other_words(tmp_path: Path, line: str) -> None:
    before = requirements.fingerprint(write(tmp_path, {"requirements.txt": line, "model.bin": "1"}))
    assert requirements.fingerprint(write(tmp_path, {"model.bin": "2"})) == before


def test_what_is_in_a_directory_is_no_list(tmp_path: Path) -> None:
    file = write(tmp_path, {"requirements.txt": "./source", "source/vocab.txt": "../model.bin", "model.bin": "1"})
    before = requirements.fingerprint(file)
    write(tmp_path, {"model.bin": "2"})
    assert requirements.fingerprint(file) == before


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


@pytest.mark.parametrize(
    ("line", "package", "by"),
    [
        ("numpy", "numpy", "numpy"),
        ("\ufeffNo.Such-Package [all] >=1,<2 ; python_version > '3' # needed", "No.Such-Package", "No.Such-Package"),
        ("old (>=1)", "old", "old"),
        ("hashed --hash=sha256:0", "hashed", "hashed"),
        ("mine @ https://host/mine-1.zip ; os_name == 'posix'", "mine", "mine @ https://host/mine-1.zip"),
        ("mine[all]@git+https://host/mine.git", "mine", "mine[all]@git+https://host/mine.git"),
        ("https://host/a_b-1.0-py3-none-any.whl#sha256=0", "a_b", "https://host/a_b-1.0-py3-none-any.whl#sha256=0"),
        ("mine @ git+https://user:secret@host/mine", "mine", "mine @ git+https://***@host/mine"),
        ("https://host/my-package-1.0.tar.gz", "my-package", "https://host/my-package-1.0.tar.gz"),
        ("git+https://host/x.git@main#egg=mine&subdirectory=y", "mine",
         "git+https://host/x.git@main#egg=mine&subdirectory=y"),
        ("-e git+ssh://host/x#subdirectory=y&egg=mine", "mine", "git+ssh://host/x#subdirectory=y&egg=mine"),
        ("wheels/mine-1-py3-none-any.whl", "mine", "mine"),
        ("mine-1-py3-none-any.whl", "mine", "mine"),
    ],
)  # fmt: skip
def test_the_packages_of_a_file_are_known_by_their_names(tmp_path: Path, line: str, package: str, by: str) -> None:
    write(tmp_path, {"requirements.txt": line})
    assert list(requirements.listed(str(tmp_path))) == [("requirements.txt", {package: by})]


@pytest.mark.parametrize(
    "line",
    ["", "# numpy", "-r more.txt", "--find-links=found", "git+https://host/x.git", "https://host/", "./mine", "a/b"],
)
def test_a_location_without_a_name_is_no_package(tmp_path: Path, line: str) -> None:
    write(tmp_path, {"requirements.txt": line})
    assert list(requirements.listed(str(tmp_path))) == [("requirements.txt", {})]
