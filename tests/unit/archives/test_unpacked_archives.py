"""Directories that stand for archives: what is extracted of them, and when they have changed."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from emulator.archives.directory_source import DirectorySource
from emulator.archives.errors import ArchiveNotFound
from emulator.archives.extraction import extract
from emulator.archives.model_data_url import S3Url
from emulator.errors import ArchiveError, SetupError
from tests.support.files import archive

NAME = "porto.tar.gz"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory in place of an archive, among other archives."""
    directory = tmp_path / "s3" / NAME
    (directory / "code" / "package").mkdir(parents=True)
    (directory / "code" / "inference.py").write_text("import package\n")
    (directory / "code" / "package" / "__init__.py").touch()
    (directory / "weights.bin").write_bytes(os.urandom(700_000))
    return directory


@pytest.fixture
def source(model: Path) -> DirectorySource:
    return DirectorySource(model.parent)


def extracted(source: DirectorySource, target: Path, name: str = NAME) -> Path:
    with source.open(name) as (file, version):
        assert version == source.version(name)
        extract(file, target, max_bytes=10**7, max_files=1000)
    return target


def tree(directory: Path) -> dict[str, object]:
    """All below a directory: the content of files, the targets of links, the modes of all else."""
    return {
        str(path.relative_to(directory)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else stat.S_IMODE(path.stat().st_mode)
        for path in directory.rglob("*")
    }


def test_what_is_extracted_is_what_the_directory_has(model: Path, source: DirectorySource, tmp_path: Path) -> None:
    (model / "empty").mkdir(mode=0o755)
    (model / "café \udcff").write_text("1")
    (model / ("long" * 50)).write_text("1")
    (model / "run.sh").touch(0o755)
    (model / "latest").symlink_to("code/inference.py")
    (model / "code" / "all").symlink_to("package")
    os.utime(model / "weights.bin", (1e9, 1e9))
    found = extracted(source, tmp_path / "model")
    assert tree(found) == tree(model)
    assert stat.S_IMODE((found / "run.sh").stat().st_mode) == 0o755
    assert (found / "weights.bin").stat().st_mtime == 1e9


def test_an_empty_directory_is_a_model_without_files(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert tree(extracted(DirectorySource(tmp_path), tmp_path / "model")) == {}


def test_what_is_not_packed_is_left_out(model: Path, source: DirectorySource, tmp_path: Path) -> None:
    before, version = tree(model), source.version(NAME)
    for name in ("code/__pycache__/inference.pyc", ".DS_Store", "code/._inference.py"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).touch()
    assert tree(extracted(source, tmp_path / "model")) == before
    assert source.version(NAME) == version


@pytest.mark.parametrize("target", ["/etc/passwd", "../other", "code/../../other", "code/all/../../.."])
def test_a_link_that_leads_out_of_the_model_is_refused(
    model: Path, source: DirectorySource, tmp_path: Path, target: str
) -> None:
    (model / "code" / "all").symlink_to("package")
    (model / "link").symlink_to(target)
    with pytest.raises(ArchiveError, match="The link 'link' may lead outside the model"):
        extracted(source, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_pipe_is_refused(model: Path, source: DirectorySource, tmp_path: Path) -> None:
    os.mkfifo(model / "pipe")
    with pytest.raises(ArchiveError, match="'pipe' is not a file, a directory or a link"):
        extracted(source, tmp_path / "model")


def replaced(path: Path, content: str) -> None:
    """As editors save: a new file in the place of the old one, here with the same size and time."""
    status = path.stat()
    new = path.with_name("new")
    new.write_text(content)
    os.utime(new, ns=(status.st_mtime_ns, status.st_mtime_ns))
    new.rename(path)


CHANGES: list[Callable[[Path], object]] = [
    lambda model: (model / "code" / "inference.py").write_text("import package, os\n"),
    lambda model: replaced(model / "code" / "inference.py", "import another\n"),
    lambda model: os.utime(model / "weights.bin"),
    lambda model: (model / "code" / "inference.py").chmod(0o755),
    lambda model: (model / "code" / "new.py").touch(),
    lambda model: (model / "new").mkdir(),
    lambda model: (model / "code" / "package" / "__init__.py").unlink(),
    lambda model: (model / "weights.bin").rename(model / "weights"),
    lambda model: shutil.rmtree(model / "code"),
    lambda model: (model / "link").symlink_to("weights.bin"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_of_a_file_is_another_version(
    model: Path, source: DirectorySource, change: Callable[[Path], object]
) -> None:
    before = source.version(NAME)
    assert source.version(NAME) == before
    change(model)
    assert source.version(NAME) != before


def test_what_changes_while_it_is_read_is_a_version_of_its_own(model: Path, source: DirectorySource) -> None:
    with source.open(NAME) as (file, version):
        file.read(1)
        (model / "code" / "inference.py").write_text("changed = True\n")
    assert source.version(NAME) != version


def test_what_is_deleted_while_it_is_read_is_missing(model: Path, source: DirectorySource, tmp_path: Path) -> None:
    (model / "a").write_bytes(bytes(1_000_000))
    with source.open(NAME) as (file, _):
        file.peek()
        shutil.rmtree(model / "code" / "package")
        (model / "weights.bin").unlink()
        extract(file, tmp_path / "model", max_bytes=10**7, max_files=1000)
    assert tree(tmp_path / "model") == tree(model)


def test_a_file_that_becomes_shorter_while_it_is_read_is_refused(
    model: Path, source: DirectorySource, tmp_path: Path
) -> None:
    (model / "a").write_bytes(bytes(1_000_000))
    with source.open(NAME) as (file, _), pytest.raises(ArchiveError, match="'a' has become shorter"):
        file.peek()
        os.truncate(model / "a", 10)
        extract(file, tmp_path / "model", max_bytes=10**7, max_files=1000)


def test_no_file_stays_open_when_only_a_part_is_read(model: Path, source: DirectorySource) -> None:
    before = os.listdir("/proc/self/fd")
    with source.open(NAME) as (file, _):
        file.read(300_000)
        assert os.listdir("/proc/self/fd") != before
    assert os.listdir("/proc/self/fd") == before


def test_a_directory_that_cannot_be_read_is_refused(
    model: Path, source: DirectorySource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.listdir", refused)
    with pytest.raises(ArchiveError, match="cannot be read: Permission denied"):
        extracted(source, tmp_path / "model")


# Which directories


def test_the_list_has_the_directory_as_one_archive(model: Path, source: DirectorySource) -> None:
    archive(model.parent / "europe" / "lisbon.tar.gz", {"weights": "1"})
    (model.parent / "europe" / NAME).mkdir()
    (model.parent / "europe" / NAME / "weights").write_text("12")
    sizes = dict(source.archives())
    assert list(sizes) == ["europe/lisbon.tar.gz", f"europe/{NAME}", NAME]
    assert sizes[NAME] == 700_015 and sizes[f"europe/{NAME}"] == 2


def test_what_is_in_it_are_objects_of_their_own(source: DirectorySource) -> None:
    assert f"{NAME}/code/inference.py" in list(source.objects())
    with source.open(f"{NAME}/code/inference.py") as (file, _):
        assert file.read() == b"import package\n"


def test_it_has_the_prefix_of_an_archive(model: Path, tmp_path: Path) -> None:
    bucket = DirectorySource(model.parent, S3Url("s3", "por"))
    assert extracted(bucket, tmp_path / "model", "to.tar.gz").is_dir()
    assert [name for name, _ in bucket.archives()] == ["to.tar.gz"]


@pytest.mark.parametrize("name", ["porto", f"../s3/{NAME}", f"/{NAME}", f"{NAME}/", f"{NAME}/code", "away.tar.gz"])
def test_other_directories_are_no_archives(model: Path, name: str) -> None:
    (model.parent / "porto").mkdir()
    (model.parent / "away.tar.gz").symlink_to(model)
    bucket = DirectorySource(model.parent, S3Url("s3"))
    for call in (bucket.version, lambda name: bucket.open(name).__enter__()):
        with pytest.raises(ArchiveNotFound):
            call(name)


def test_a_directory_without_the_ending_brings_it_to_mind(model: Path, source: DirectorySource) -> None:
    (model.parent / "europe" / "lisbon").mkdir(parents=True)
    with pytest.raises(ArchiveNotFound) as refused:
        source.version("europe/lisbon.tar.gz")
    words = "no object europe/lisbon.tar.gz, but a directory europe/lisbon: pack it (localmme pack). Or rename it to "
    assert words in str(refused.value.__cause__)


# --unpacked


@pytest.fixture
def unpacked(tmp_path: Path) -> DirectorySource:
    for name in ("lisbon", "europe/porto", ".hidden", "osaka.tar.gz"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "weights").write_text("1")
    return DirectorySource(tmp_path / "models", unpacked=True)


@pytest.mark.parametrize("name", ["lisbon", "europe", "osaka"])
def test_each_directory_directly_below_is_a_model(unpacked: DirectorySource, tmp_path: Path, name: str) -> None:
    unpacked.check()
    assert [name for name, _ in unpacked.archives()] == ["europe.tar.gz", "lisbon.tar.gz", "osaka.tar.gz"]
    extracted(unpacked, tmp_path / "model", f"{name}.tar.gz")


@pytest.mark.parametrize("name", ["lisbon", "europe/porto.tar.gz", ".hidden.tar.gz", ".tar.gz", "..tar.gz"])
def test_nothing_else_is_a_model(unpacked: DirectorySource, name: str) -> None:
    with pytest.raises(ArchiveNotFound):
        unpacked.version(name)


def test_a_link_to_a_directory_elsewhere_is_a_model(unpacked: DirectorySource, model: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / "porto").symlink_to(model)
    assert tree(extracted(unpacked, tmp_path / "model")) == tree(model)
    assert NAME in dict(unpacked.archives())


@pytest.mark.parametrize("beside", ["file", "directory"])
def test_two_that_stand_for_one_archive_are_refused(unpacked: DirectorySource, tmp_path: Path, beside: str) -> None:
    if beside == "file":
        archive(tmp_path / "models" / "lisbon.tar.gz", {"weights": "1"})
    else:
        (tmp_path / "models" / "lisbon.tar.gz").mkdir()
    words = r"lisbon and lisbon\.tar\.gz both stand for lisbon\.tar\.gz: delete one, or move it\."
    with pytest.raises(ArchiveError, match=words):
        extracted(unpacked, tmp_path / "model", "lisbon.tar.gz")
    with pytest.raises(SetupError, match=words):
        unpacked.check()
