"""``localmme pack``: what it prints, its exit codes, and that nothing but the archive is written."""

from __future__ import annotations

import json
import os
import stat
import tarfile

import pytest

from tests.support.command_line import localmme
from tests.support.packed_models import (
    extracted,
    member,
    packed,
    snapshot,
    tar_gz,
    tree,
)

CODE = member("code/inference.py", b"pass")


def test_what_is_no_part_of_a_model_is_left_out_and_told(tmp_path):
    junk = [".DS_Store", "._weights", "__MACOSX/._weights", "code/._inference.py", "code/__pycache__/inference.pyc"]
    model = tree(tmp_path / "model", {"weights": "1", "code/inference.py": "", **dict.fromkeys(junk, "junk")})
    result = localmme("pack", str(model), "-o", str(tmp_path / "a.tar.gz"))
    assert result.returncode == 0
    assert result.stderr == "Left out: .DS_Store, ._weights, __MACOSX and 2 more.\n"
    assert set(snapshot(extracted(tmp_path / "a.tar.gz", tmp_path / "out"))) == {"weights", "code", "code/inference.py"}


def test_the_same_files_give_the_same_bytes_whatever_else_differs(tmp_path):
    files = {"b/weights": b"x" * 100_000, "a": "1", "B": "2", "é": "3", "b.txt": "4", "empty/": ""}
    one, other = tmp_path / "one" / "model", tmp_path / "other" / "model"
    tree(one, files)
    before = os.umask(0o077)
    try:
        tree(other, dict(reversed(files.items())))
        os.utime(other / "a", (0, 0))
        archives = []
        for number, directory in enumerate((one, other)):
            os.umask((0o022, 0o077)[number])
            environment = {**os.environ, "TZ": ("UTC", "Asia/Tokyo")[number], "PYTHONHASHSEED": str(number + 1)}
            environment["LC_ALL"] = ("C", "C.UTF-8")[number]
            archives.append(tmp_path / f"{number}" / f"{number}.tar.gz")
            archives[-1].parent.mkdir()
            result = localmme("pack", str(directory), "-o", str(archives[-1]), env=environment)
            assert result.returncode == 0, result.stderr
    finally:
        os.umask(before)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    assert stat.S_IMODE(archives[0].stat().st_mode) == 0o644
    assert stat.S_IMODE(archives[1].stat().st_mode) == 0o600
    with tarfile.open(archives[1]) as tar:
        entries = tar.getmembers()
    assert [entry.name for entry in entries] == ["B", "a", "b", "b/weights", "b.txt", "empty", "é"]
    assert {(entry.uid, entry.gid, entry.uname, entry.gname) for entry in entries} == {(0, 0, "", "")}
    assert {entry.mode for entry in entries} == {0o644, 0o755}


def test_the_time_of_the_files_is_that_of_the_source(tmp_path):
    model = tree(tmp_path / "model", {"weights": "1"})
    for given_time, expected in (({}, 315_532_800), ({"SOURCE_DATE_EPOCH": "1700000000"}, 1_700_000_000)):
        localmme("pack", str(model), "-o", str(tmp_path / "a.tar.gz"), env={**os.environ, **given_time}, check=True)
        with tarfile.open(tmp_path / "a.tar.gz") as tar:
            assert tar.getmember("weights").mtime == expected


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["{tmp}/none"], "There is no file or directory {tmp}/none."),
        (["{tmp}/file"], "is not recognized as a model"),
        (["{tmp}/a.tar.gz"], "is an archive, not a directory or a model. To look into it: localmme pack --verify"),
        (["{tmp}/model", "-o", "{tmp}/model/a.tar.gz"], "would become a part of it"),
        (["{tmp}/model", "-o", "{tmp}/link/sub/a.tar.gz"], "would become a part of it"),
        (["{tmp}/model", "-o", "{tmp}/none/a.tar.gz"], "There is no directory {tmp}/none. Make it"),
        (["{tmp}/model", "-o", "{tmp}/a.zip"], "SageMaker takes archives named .tar.gz"),
        (["{tmp}/model", "--storage", "lots"], "'lots' is not a size"),
        (["{tmp}/model", "--list", "--verify"], "exclude each other"),
        (["{tmp}/model", "--list", "-o", "{tmp}/a.tar.gz"], "--output is for packing"),
        (["{tmp}/model", "--verify"], "is a directory. See what would be packed"),
    ],
)
def test_what_cannot_be_tried_is_one_line_and_exit_code_2(tmp_path, arguments, words):
    tree(tmp_path / "model", {"weights": "1", "sub/file": "2"})
    (tmp_path / "file").write_text("")
    (tmp_path / "a.tar.gz").write_text("")
    (tmp_path / "link").symlink_to("model")
    before = snapshot(tmp_path)
    result = localmme("pack", *(argument.format(tmp=tmp_path) for argument in arguments))
    assert result.returncode == 2
    assert result.stdout == ""
    assert words.format(tmp=tmp_path) in result.stderr and result.stderr.count("\n") == 1
    assert snapshot(tmp_path) == before


def test_a_verdict_is_printed_and_is_the_exit_code(tmp_path):
    good = tar_gz(tmp_path / "good.tar.gz", member("weights", b"12"), CODE)
    result = localmme("pack", "--verify", str(good))
    assert (result.returncode, result.stdout) == (0, f"{good}: can be extracted (2 files, 6 B).\n")
    bad = tar_gz(tmp_path / "bad.tar.gz", member("weights", b"12"), member("../x"))
    result = localmme("pack", "--verify", str(bad))
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        "fail: extracts: '../x' is outside the model. "
        "Extract it by hand, and make it anew: localmme pack DIR packs what links lead to.",
        f"{bad}: does not work (2 files, 2 B).",
    ]
    result = localmme("pack", "--verify", str(bad), "--json")
    assert result.returncode == 1
    verdict = json.loads(result.stdout)
    assert (verdict["works"], verdict["unpacked_bytes"]) == (False, 2)
    assert [finding["name"] for finding in verdict["findings"]] == ["extracts"]


def test_a_warning_counts_when_asked_for(tmp_path):
    model = tree(tmp_path / "model", {"m/inference.py": "pass", "m/weights": "12"})
    archive = tmp_path / "a.tar.gz"
    told = (
        "warn: wrapping-folder: All of it is in one folder, m/, where containers do not look for inference.py. "
        "Pack what is in the folder, not the folder: localmme pack .../m.\n"
    )
    result = localmme("pack", str(model), "-o", str(archive), "--strict")
    assert (result.returncode, result.stdout, result.stderr) == (1, "", told)
    assert not archive.exists()
    result = localmme("pack", str(model), "-o", str(archive))
    assert (result.returncode, result.stderr) == (0, told)
    result = localmme("pack", "--verify", str(archive))
    assert result.returncode == 0
    assert result.stdout == told + f"{archive}: can be extracted (2 files, 6 B).\n"
    assert localmme("pack", "--verify", str(archive), "--strict").returncode == 1


def test_what_is_made_is_told_as_json(tmp_path):
    model = tree(tmp_path / "model", {"weights": "12", ".DS_Store": "", "code/serve.py": ""})
    archive = tmp_path / "a.tar.gz"
    told = json.loads(localmme("pack", str(model), "-o", str(archive), "--json", check=True).stdout)
    assert told["archive"] == str(archive)
    assert (told["size_bytes"], told["unpacked_bytes"]) == (archive.stat().st_size, 2)
    assert told["left_out"] == [".DS_Store"]
    assert [finding["name"] for finding in told["findings"]] == ["code-without-entry-point"]
    os.mkfifo(model / "pipe")
    result = localmme("pack", str(model), "-o", str(archive), "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["archive"] is None


def test_a_directory_is_listed_like_the_archive_that_it_becomes(tmp_path):
    model = tree(tmp_path / "model", {"[red]weights": "x" * 2048, "code/inference.py": "", "\x1b[2J": "1"})
    archive = packed(model, tmp_path / "a.tar.gz")
    listed = [localmme("pack", "--list", str(path), check=True).stdout for path in (model, archive)]
    assert listed[0] == listed[1]
    rows = [line.split() for line in listed[0].splitlines()]
    assert ["[red]weights", "2", "KiB"] in rows and ["code/"] in rows and ["\\x1b[2J", "1", "B"] in rows
    assert listed[0].endswith("3 files, 2 KiB\n")
    told = [json.loads(localmme("pack", "--list", str(path), "--json", check=True).stdout) for path in (model, archive)]
    assert told[0] == told[1]
    assert {"name": "code", "kind": "directory", "size_bytes": 0} in told[0]


def test_an_archive_is_listed_up_to_what_cannot_be_extracted(tmp_path):
    archive = tar_gz(tmp_path / "a.tar.gz", member("w", b"1"), member("\udcff"), member("/etc/passwd"), member("x"))
    result = localmme("pack", "--list", str(archive))
    assert result.returncode == 1
    assert "/etc/passwd" in result.stdout and "\\udcff" in result.stdout
    assert result.stderr.startswith("fail: extracts: '/etc/passwd' is outside the model.")
    names = [entry["name"] for entry in json.loads(localmme("pack", "--list", str(archive), "--json").stdout)]
    assert names == ["w", "\udcff", "/etc/passwd"]
