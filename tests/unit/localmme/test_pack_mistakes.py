"""What is wrong with a directory that is to be packed, or with an archive that was made elsewhere."""

from __future__ import annotations

import gzip
import os
import socket
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.archives.extraction import examine, extract
from emulator.errors import ArchiveError
from localmme.pack.verifying import verify
from tests.support.command_line import localmme
from tests.support.other_user import as_nobody
from tests.support.packed_models import (
    GIB,
    LIMITS,
    contents,
    found_in,
    member,
    tar_gz,
    tree,
)

# What is wrong with a directory


def test_what_cannot_be_packed_is_told_all_at_once(tmp_path):
    model = tree(tmp_path / "model", {"weights": "1", "sub/": ""})
    (model / "nowhere").symlink_to("missing")
    (model / "sub" / "round").symlink_to("..")
    (model / "itself").symlink_to("itself")
    os.mkfifo(model / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(model / "socket"))
    with open(os.fsencode(model) + b"/\xff", "wb"):
        pass
    expected = {"broken-links", "endless-links", "special-files", "names"}
    assert found_in(contents(model).mistakes) == dict.fromkeys(expected, "fail")
    result = localmme("pack", str(model), "-o", str(tmp_path / "a.tar.gz"))
    assert result.returncode == 1 and result.stdout == ""
    assert {line.split(": ")[1] for line in result.stderr.splitlines()} == expected
    assert not (tmp_path / "a.tar.gz").exists()


def test_too_much_for_the_volume_or_for_one_archive_is_not_packed(tmp_path):
    model = tree(tmp_path / "model", {f"{number}": "123" for number in range(10)})
    assert contents(model, max_files=10, max_bytes=30).mistakes == []
    assert found_in(contents(model, max_files=9).mistakes) == {"files": "fail"}
    assert found_in(contents(model, max_bytes=29).mistakes) == {"size": "fail"}
    result = localmme("pack", str(model), "-o", str(tmp_path / "a.tar.gz"), "--storage", "29")
    assert result.returncode == 1 and "fail: size: It unpacks to 30 B" in result.stderr
    deep = tree(tmp_path / "deep", {"d/" * 99 + "file": "", "d/" * 100 + "file": ""})
    assert found_in(contents(deep).mistakes) == {"depth": "fail", "wrapping-folder": "warn"}


def test_what_may_not_be_read_is_told(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can make files that others own")
    with tempfile.TemporaryDirectory() as name:  # pytest's own is closed to others
        os.chmod(name, 0o777)
        model = tree(Path(name) / "model", {"weights": "1", "secret": "2", "closed/file": "3"})
        os.chmod(model / "secret", 0o600)
        os.chmod(model / "closed", 0o700)
        assert as_nobody(lambda: contents(model).mistakes[0].detail) == "This cannot be read: closed, secret."


def test_a_directory_is_told_of_the_same_mistakes(tmp_path):
    model = tree(tmp_path / "model", {"m/code/serve.py": "", "m/.git/lfs/w": "12"})
    assert found_in(contents(model).mistakes) == {"wrapping-folder": "warn", "version-control": "warn"}
    assert found_in(contents(model / "m").mistakes) == {"code-without-entry-point": "warn", "version-control": "warn"}
    assert found_in(contents(tree(tmp_path / "empty", {"sub/": ""})).mistakes) == {"empty": "fail"}


# What is wrong with an archive made elsewhere


CODE = member("code/inference.py", b"pass")


ARCHIVES: dict[str, tuple[list, dict[str, str]]] = {
    "good": ([member("weights", b"1"), CODE], {}),
    "of tar": ([member("./", kind=tarfile.DIRTYPE), member("./weights", b"1")], {}),
    "empty": ([], {"empty": "fail"}),
    "directories only": ([member("a", kind=tarfile.DIRTYPE)], {"empty": "fail"}),
    "wrapped": ([member("model/weights"), member("model/about")], {"wrapping-folder": "warn"}),
    "wrapped handler": ([member("m/code/inference.py"), member("m/x")], {"wrapping-folder": "warn"}),
    "wrapped twice": ([member("m/m/weights")], {"wrapping-folder": "warn"}),
    "wrapped on macOS": (
        [member("._m"), member("m/inference.py")],
        {"macos-metadata": "warn", "wrapping-folder": "warn"},
    ),
    "handler only": ([CODE], {}),
    "for Triton": ([member("m/config.pbtxt"), member("m/1/model.py")], {}),
    "for TensorFlow": ([member("m/1/saved_model.pb")], {}),
    "its version": ([member("1/saved_model.pb")], {}),
    "macOS": ([member("w"), member("__MACOSX/w"), member("x/.DS_Store")], {"macos-metadata": "warn"}),
    "no handler": ([member("w"), member("code/data.txt")], {"code-without-entry-point": "warn"}),
    "requirements": ([member("w"), CODE, member("code/requirements.txt")], {"requirements": "warn"}),
    "other handler": ([member("w"), member("code/serve.py")], {"code-without-entry-point": "warn"}),
    "handler too deep": ([member("w"), member("code/a/inference.py")], {"code-without-entry-point": "warn"}),
    "empty code": ([member("w"), member("code", kind=tarfile.DIRTYPE)], {"code-without-entry-point": "warn"}),
    "for MMS": ([member("MAR-INF/MANIFEST.json"), member("code/x.py")], {}),
    "MMS handler": ([member("w"), member("code/model_handler.py")], {}),
    "handler at the root": ([member("inference.py"), member("code/lib.py")], {}),
    "link": ([member("w"), member("l", b"", tarfile.SYMTYPE, "w")], {"symbolic-links": "warn"}),
    "absolute link": ([member("w"), member("l", b"", tarfile.SYMTYPE, "/w")], {"extracts": "fail"}),
    "link outside": ([member("w"), member("l", b"", tarfile.SYMTYPE, "../w")], {"extracts": "fail"}),
    "hard link": ([member("w"), member("l", b"", tarfile.LNKTYPE, "w")], {"hard-links": "warn"}),
    "hard link outside": ([member("l", b"", tarfile.LNKTYPE, "../w")], {"extracts": "fail"}),
    "outside": ([member("../w")], {"extracts": "fail"}),
    "absolute": ([member("/w")], {"extracts": "fail"}),
    "device": ([member("null", b"", tarfile.CHRTYPE)], {"extracts": "fail"}),
    "pipe": ([member("pipe", b"", tarfile.FIFOTYPE)], {"extracts": "fail"}),
    "unreadable file": ([member("w", mode=0o600)], {"unreadable": "warn"}),
    "unreadable directory": (
        [member("d", kind=tarfile.DIRTYPE, mode=0o744), member("w")],
        {"unreadable": "warn"},
    ),
    "git": ([member("w"), member(".git/lfs/w")], {"version-control": "warn"}),
    "archive": ([member("model.tar.gz")], {"archive-in-archive": "warn"}),
    "too many files": ([member(f"{number}") for number in range(1001)], {"extracts": "fail"}),
    "strange names": ([member("\x1b[2J\n", mode=0)], {"unreadable": "warn"}),
}


@pytest.mark.parametrize("archive", ARCHIVES)
def test_each_usual_mistake_is_found_and_no_other(tmp_path, archive):
    members, expected = ARCHIVES[archive]
    made = tar_gz(tmp_path / "a.tar.gz", *members)
    before = made.read_bytes()
    assert found_in(verify(made, **LIMITS).mistakes) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"] and made.read_bytes() == before


def zip_file(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("weights", "1")


def cut(path: Path) -> None:
    tar_gz(path, member("weights", os.urandom(100_000)))
    path.write_bytes(path.read_bytes()[:50_000])


def damaged(path: Path) -> None:
    tar_gz(path, member("weights", os.urandom(100_000)))
    data = bytearray(path.read_bytes())
    data[50_000] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "make, words",
    [
        (zip_file, "Unzip it"),
        (lambda path: tarfile.open(path, "w").close(), "gzip FILE"),
        (lambda path: tarfile.open(path, "w:bz2").close(), "gzip FILE"),
        (lambda path: path.write_bytes(b""), "Copy it again"),
        (lambda path: path.write_bytes(gzip.compress(b"no tar" * 1000)), "localmme pack DIR"),
        (cut, "Copy it again"),
        (damaged, "Copy it again, as binary"),
        (lambda path: tar_gz(path, member("w", bytes(5000))), "--storage"),
        (lambda path: tar_gz(path, *(member(f"{number}") for number in range(11))), "Put small files together"),
        (lambda path: tar_gz(path, member("w"), member("l", b"", tarfile.SYMTYPE, "/w")), "packs what links lead to"),
    ],
)
def test_what_cannot_be_extracted_comes_with_what_to_do(tmp_path, make, words):
    archive = tmp_path / "a.tar.gz"
    make(archive)
    findings = verify(archive, max_bytes=4000 if words == "--storage" else GIB, max_files=10).mistakes
    assert found_in(findings) == {"extracts": "fail"}
    assert words in findings[0].remedy


def test_another_name_than_sagemaker_wants_is_told(tmp_path):
    archive = tar_gz(tmp_path / "a.tgz", member("weights", b"1"))
    assert found_in(verify(archive, **LIMITS).mistakes) == {"file-name": "warn"}


PATHS = st.lists(st.sampled_from(["a", "b", "c", "..", ".", ""]), min_size=1, max_size=3).map("/".join)


KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.REGTYPE]
)


@settings(max_examples=50)
@given(st.lists(st.tuples(KINDS, PATHS, PATHS, st.integers(0, 600), st.integers(0, 0o7777)), max_size=6))
def test_what_is_examined_and_what_is_extracted_are_refused_alike(members):
    def outcome(look: Callable[[], object]) -> str:
        try:
            look()
        except ArchiveError as error:
            return str(error)
        return "extracted"

    with tempfile.TemporaryDirectory() as name:
        archive = tar_gz(
            Path(name) / "a.tar.gz",
            *(
                member(path, bytes(size if kind == tarfile.REGTYPE else 0), kind, target, mode)
                for kind, path, target, size, mode in members
            ),
        )
        limits = {"max_bytes": 1000, "max_files": 6}
        with open(archive, "rb") as one, open(archive, "rb") as other:
            examined = outcome(lambda: list(examine(one, **limits)))
            assert examined == outcome(lambda: extract(other, Path(name) / "out", **limits))
