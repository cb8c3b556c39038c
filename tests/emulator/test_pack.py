"""``localmme pack``: what it makes can be extracted and served, and is the same each time; what it finds in others."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pty
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.archives.extraction import examine, extract
from emulator.errors import ArchiveError, SetupError
from emulator.printable import printable
from localmme.pack.contents import Contents, contents_of
from localmme.pack.gzip_stream import GzipStream
from localmme.pack.mistakes import Mistake, is_macos_metadata
from localmme.pack.verifying import verify
from localmme.pack.writing import UNFINISHED_PREFIX, time_of_members, write
from tests.support.command_line import localmme
from tests.support.emulator_process import Emulator
from tests.support.repository import REPOSITORY
from tests.support.waiting import eventually

GIB = 1024**3
LIMITS = {"max_bytes": GIB, "max_files": 1000}
NOBODY = 65_534


def tree(directory: Path, files: dict[str, bytes | str]) -> Path:
    """A directory with these files; a path that ends with a slash is an empty directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = directory / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return directory


def contents(directory: Path, **limits: int) -> Contents:
    return contents_of(directory, **{**LIMITS, **limits})


def packed(directory: Path, archive: Path, *, compressed: bool = True) -> Path:
    found = contents(directory)
    assert not [finding for finding in found.mistakes if finding.verdict == "fail"]
    write(directory, found.entries, archive, compressed=compressed)
    return archive


def extracted(archive: Path, directory: Path) -> Path:
    with open(archive, "rb") as file:
        extract(file, directory, **LIMITS)
    return directory


def snapshot(directory: Path) -> dict[str, tuple[str, bytes]]:
    """Kind, executable or not, and content of all that is there."""
    entries = {}
    for path in directory.rglob("*"):
        mode = path.lstat().st_mode
        kind = f"{stat.S_IFMT(mode):o} {'x' if mode & 0o100 else '-'}"
        entries[str(path.relative_to(directory))] = kind, path.read_bytes() if path.is_file() else b""
    return entries


def tar_gz(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    """An archive as somebody else made it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data))
    path.write_bytes(gzip.compress(buffer.getvalue(), 1))
    return path


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o755):
    information = tarfile.TarInfo(name)
    information.type, information.linkname, information.mode, information.size = kind, target, mode, len(data)
    return information, data


def found_in(findings: list[Mistake]) -> dict[str, str]:
    """Verdicts by the names of the mistakes. Each says, in sentences, what to do."""
    for finding in findings:
        assert finding.detail.endswith(".") and finding.remedy.endswith(".")
        assert printable(finding.detail + finding.remedy) == finding.detail + finding.remedy
    return {finding.name: finding.verdict for finding in findings}


# What is packed comes out again

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=30).filter(
    lambda name: name not in (".", "..", "__pycache__") and not is_macos_metadata(name)
)
TREES = st.recursive(
    st.tuples(st.binary(max_size=2000), st.sampled_from([0o400, 0o600, 0o644, 0o666, 0o700, 0o755, 0o4755])),
    lambda below: st.dictionaries(NAMES, below, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, TREES, max_size=4), st.booleans())
def test_any_tree_comes_out_of_the_emulators_extraction_as_it_went_in(model, compressed):
    def make(directory: str, entries: dict) -> int:
        count = 0
        for name, entry in entries.items():
            path = os.path.join(directory, name)
            if isinstance(entry, dict):
                os.mkdir(path)
                count += make(path, entry)
            else:
                with open(path, "wb") as file:
                    file.write(entry[0])
                os.chmod(path, entry[1])
                count += 1
        return count

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "in").mkdir()
        count = make(str(work / "in"), model)
        found = contents(work / "in")
        assert ("empty" in found_in(found.mistakes)) == (count == 0)
        write(work / "in", found.entries, work / "a.tar.gz", compressed=compressed)
        assert snapshot(extracted(work / "a.tar.gz", work / "out")) == snapshot(work / "in")
        with tarfile.open(work / "a.tar.gz") as tar:  # nothing but what every tar can extract
            assert all(entry.isreg() or entry.isdir() for entry in tar)


@pytest.mark.parametrize("compressed", [True, False])
def test_files_of_every_size_around_a_block_are_packed_whole(tmp_path, compressed):
    sizes = [0, 1, 511, 512, 513, 65_535, 65_536, 16 * 65_535, 16 * 65_535 + 1, 3_000_000]
    data = os.urandom(max(sizes))
    tree(tmp_path / "in", {str(size): data[:size] for size in sizes})
    archive = packed(tmp_path / "in", tmp_path / "a.tar.gz", compressed=compressed)
    assert snapshot(extracted(archive, tmp_path / "out")) == snapshot(tmp_path / "in")
    subprocess.run(["gzip", "-t", archive], check=True)
    subprocess.run(["tar", "tzf", archive], check=True, capture_output=True)


def test_what_links_lead_to_is_packed(tmp_path):
    blobs = tree(tmp_path / "blobs", {"weights": "1, 2", "tokenizer/vocabulary.txt": "a b"})
    model = tree(tmp_path / "model", {"real": "data"})
    (model / "weights.bin").symlink_to("../blobs/weights")
    (model / "tokenizer").symlink_to(blobs / "tokenizer")
    (model / "same").symlink_to("real")
    os.link(model / "real", model / "hard")
    found = contents(model)
    assert found_in(found.mistakes) == {"outside-links": "warn"}
    assert "tokenizer, weights.bin" in found.mistakes[0].detail
    out = extracted(packed(model, tmp_path / "a.tar.gz"), tmp_path / "out")
    files = {name: data for name, (_, data) in snapshot(out).items() if (out / name).is_file()}
    assert files == {
        "real": b"data",
        "hard": b"data",
        "same": b"data",
        "weights.bin": b"1, 2",
        "tokenizer/vocabulary.txt": b"a b",
    }
    assert not any(path.is_symlink() for path in out.rglob("*"))
    assert (out / "hard").stat().st_nlink == 1


def test_what_is_no_part_of_a_model_is_left_out_and_told(tmp_path):
    junk = [".DS_Store", "._weights", "__MACOSX/._weights", "code/._inference.py", "code/__pycache__/inference.pyc"]
    model = tree(tmp_path / "model", {"weights": "1", "code/inference.py": "", **dict.fromkeys(junk, "junk")})
    result = localmme("pack", str(model), "-o", str(tmp_path / "a.tar.gz"))
    assert result.returncode == 0
    assert result.stderr == "Left out: .DS_Store, ._weights, __MACOSX and 2 more.\n"
    assert set(snapshot(extracted(tmp_path / "a.tar.gz", tmp_path / "out"))) == {"weights", "code", "code/inference.py"}


# The same bytes each time


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


def test_without_compression_the_bytes_are_the_same_on_every_machine(tmp_path):
    long_name = "directory/" * 12 + "é"
    model = tree(
        tmp_path / "model", {"weights": bytes(range(256)) * 1000, long_name: "1", "code/inference.py": "pass\n"}
    )
    archive = packed(model, tmp_path / "a.tar.gz", compressed=False)
    assert archive.read_bytes()[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    # Of this tree, whatever system, CPU, Python and libraries there are.
    digest = "e3e4bda1f192931fd3d5de8ce6d5a2f3fdf438d8fa6acf266adebcaa72b9265c"
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == digest


@given(st.lists(st.integers(0, 1_500_000), max_size=5), st.booleans())
@settings(max_examples=20, deadline=None)
def test_how_the_data_comes_in_does_not_change_the_stream(lengths, compressed):
    data = (b"some weights " * 120_000)[: sum(lengths)]
    streams = []
    for cuts in (lengths, [sum(lengths)]):
        buffer, rest = io.BytesIO(), data
        stream = GzipStream(buffer, compressed=compressed)
        for cut in cuts:
            stream.write(rest[:cut])
            rest = rest[cut:]
        stream.close()
        streams.append(buffer.getvalue())
    assert streams[0] == streams[1]
    assert gzip.decompress(streams[0]) == data


def test_the_time_of_the_files_is_that_of_the_source(tmp_path):
    model = tree(tmp_path / "model", {"weights": "1"})
    for given_time, expected in (({}, 315_532_800), ({"SOURCE_DATE_EPOCH": "1700000000"}, 1_700_000_000)):
        localmme("pack", str(model), "-o", str(tmp_path / "a.tar.gz"), env={**os.environ, **given_time}, check=True)
        with tarfile.open(tmp_path / "a.tar.gz") as tar:
            assert tar.getmember("weights").mtime == expected


@pytest.mark.parametrize("text", ["-1", "now", "1.5", "²", "9" * 20])
def test_a_source_time_that_is_none_is_refused(text):
    with pytest.raises(SetupError, match="SOURCE_DATE_EPOCH must be a number of seconds"):
        time_of_members(text)


# Whole or not at all


@pytest.fixture
def packing(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start packing something that takes long, over an archive that is there already; wait until it writes."""
    model = tmp_path / "model"
    model.mkdir()
    with open(model / "weights", "wb") as file:
        file.truncate(64 * GIB)
    output = tmp_path / "s3"
    output.mkdir()
    (output / "a.tar.gz").write_bytes(b"the archive before")
    processes = []

    def start(**options: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "localmme", "pack", str(model), "-o", str(output / "a.tar.gz")]
        process = subprocess.Popen(
            [*command, "--storage", "1TiB"], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, **options
        )
        processes.append(process)
        eventually(lambda: process.poll() is not None or len(list(output.iterdir())) == 2, what="packing")
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_what_was_there(packing, tmp_path, number):
    process = packing()
    assert [path.name[:9] for path in (tmp_path / "s3").iterdir() if path.name != "a.tar.gz"] == [UNFINISHED_PREFIX]
    process.send_signal(number)
    assert process.wait(20) != 0
    assert [path.name for path in (tmp_path / "s3").iterdir()] == ["a.tar.gz"]
    assert (tmp_path / "s3" / "a.tar.gz").read_bytes() == b"the archive before"


def test_a_full_disk_leaves_what_was_there(packing, tmp_path):
    limit = 64 * 1024
    process = packing(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "a.tar.gz cannot be written: File too large." in errors
    assert [path.name for path in (tmp_path / "s3").iterdir()] == ["a.tar.gz"]
    assert (tmp_path / "s3" / "a.tar.gz").read_bytes() == b"the archive before"


@pytest.mark.parametrize("now", ["", "123456"])
def test_a_file_that_changes_while_it_is_packed_is_an_error(tmp_path, now):
    model = tree(tmp_path / "model", {"weights": "12345"})
    entries = contents(model).entries
    (model / "weights").write_text(now)
    with pytest.raises(SetupError, match="weights has changed while it was packed"):
        write(model, entries, tmp_path / "a.tar.gz", compressed=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_packing_takes_no_more_memory_for_a_large_directory(tmp_path):
    peaks = []
    for name, size in (("small", 1), ("large", GIB // 8)):
        model = tree(tmp_path / name, {})
        for number in range(2):
            with open(model / f"weights-{number}", "wb") as file:
                file.truncate(size)
        command = [sys.executable, "-m", "localmme", "pack", str(model), "-o", str(tmp_path / "a.tar.gz")]
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    assert peaks[1] - peaks[0] < 16 * 1024 * 1024


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


def as_nobody(look: Callable[[], str]) -> str:
    """What somebody without rights sees. Not by starting a Python: its files may be closed to others too."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writing, look().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as file:
        seen = file.read()
    os.waitpid(child, 0)
    return seen


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["{tmp}/none"], "There is no file or directory {tmp}/none."),
        (["{tmp}/file"], "is not a directory. To look into an archive"),
        (["{tmp}/model", "-o", "{tmp}/model/a.tar.gz"], "would become a part of it"),
        (["{tmp}/model", "-o", "{tmp}/link/sub/a.tar.gz"], "would become a part of it"),
        (["{tmp}/model", "-o", "{tmp}/none/a.tar.gz"], "There is no directory {tmp}/none. Make it"),
        (["{tmp}/model", "-o", "{tmp}"], "is a directory. Name the archive"),
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
    (tmp_path / "link").symlink_to("model")
    before = snapshot(tmp_path)
    result = localmme("pack", *(argument.format(tmp=tmp_path) for argument in arguments))
    assert result.returncode == 2
    assert result.stdout == ""
    assert words.format(tmp=tmp_path) in result.stderr and result.stderr.count("\n") == 1
    assert snapshot(tmp_path) == before


def test_an_archive_is_named_like_its_directory_and_put_where_you_are(tmp_path):
    tree(tmp_path / "models" / "lisbon", {"weights": "12"})
    command = [sys.executable, "-m", "localmme", "pack", "models/lisbon"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    size = (tmp_path / "lisbon.tar.gz").stat().st_size
    assert result.stdout == f"lisbon.tar.gz: {size} B, of 1 file, 2 B.\n"
    assert result.stderr == ""


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
    "no handler": ([member("w"), member("code/requirements.txt")], {"code-without-entry-point": "warn"}),
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


def test_a_directory_is_told_of_the_same_mistakes(tmp_path):
    model = tree(tmp_path / "model", {"m/code/serve.py": "", "m/.git/lfs/w": "12"})
    assert found_in(contents(model).mistakes) == {"wrapping-folder": "warn", "version-control": "warn"}
    assert found_in(contents(model / "m").mistakes) == {"code-without-entry-point": "warn", "version-control": "warn"}
    assert found_in(contents(tree(tmp_path / "empty", {"sub/": ""})).mistakes) == {"empty": "fail"}


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


@settings(max_examples=200, deadline=None)
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


# The command


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


def test_progress_is_shown_in_a_terminal_only(tmp_path):
    model = tree(tmp_path / "model", {"weights": os.urandom(30_000_000)})
    command = [sys.executable, "-m", "localmme", "pack", str(model), "-o", str(tmp_path / "a.tar.gz")]
    environment = {**os.environ, "TERM": "xterm", "FORCE_COLOR": "1"}
    terminal, end = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        try:
            while block := os.read(terminal, 4096):
                seen.append(block)
        except OSError:  # its other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    subprocess.run(command, cwd=REPOSITORY, stderr=end, stdout=subprocess.DEVNULL, env=environment, check=True)
    os.close(end)
    reader.join(10)
    os.close(terminal)
    assert b"Packing a.tar.gz" in b"".join(seen)
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True, env=environment, check=True).stderr == b""


# And it is served


def test_a_packed_sample_is_served(tmp_path, serve: Callable[..., Emulator]):
    pytest.importorskip("sklearn")
    sample = REPOSITORY / "samples" / "house_prices"
    command = [sys.executable, sample / "train.py", "--output", tmp_path / "trained", "--cities", "1"]
    subprocess.run(command, check=True, capture_output=True)
    (trained,) = (tmp_path / "trained").rglob("*.tar.gz")
    model = extracted(trained, tmp_path / "model")
    (model / "code").mkdir()
    shutil.copy(sample / "handler.py", model / "code" / "inference.py")
    (tmp_path / "s3").mkdir()
    for options in ([], ["--no-compression"]):
        archive = tmp_path / "s3" / f"city{len(options)}.tar.gz"
        result = localmme("pack", str(model), "-o", str(archive), *options, check=True)
        assert result.stderr == ""
        assert localmme("pack", "--verify", str(archive)).returncode == 0
    emulator = serve("--models", str(tmp_path / "s3"))
    answers = [
        emulator.invoke(name, json.dumps({"rooms": 3, "square_meters": 80, "age": 20}))
        for name in ("city0.tar.gz", "city1.tar.gz")
    ]
    assert answers[0] == answers[1]
    assert answers[0]["prices"][0] > 0
