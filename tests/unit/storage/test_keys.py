"""Which file is which key: one table, and what S3's store and a directory of model archives each make of a row."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.archives.directory_source import DirectorySource
from emulator.archives.errors import ArchiveNotFound
from emulator.archives.model_data_url import S3Url
from emulator.errors import SetupError
from emulator.services.sagemaker.model_data_location import locator
from emulator.storage.errors import InvalidBucketName, InvalidKey, KeyTooLong, NameTooLong, NoSuchKey
from emulator.storage.keys import check_new_bucket, is_bucket_name, names_of
from emulator.storage.object_files import is_spelled_otherwise
from emulator.storage.object_records import ObjectAttributes
from emulator.storage.object_store import ObjectStore, open_store

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "modèle") for form in ("NFC", "NFD"))

# Of a bucket that ``directory`` has made: a key, and whether there is such an object.
ROWS = [
    ("model.tar.gz", True),
    ("folder/model.tar.gz", True),
    ("folder/deeper/model.tar.gz", True),
    # Other spellings
    ("Model.tar.gz", False),
    ("FOLDER/model.tar.gz", False),
    (COMPOSED, True),
    (DECOMPOSED, False),
    ("%6dodel.tar.gz", False),
    # What a file system would tidy up
    ("./model.tar.gz", False),
    ("folder/../model.tar.gz", False),
    ("../bucket/model.tar.gz", False),
    ("..", False),
    ("/model.tar.gz", False),
    ("folder//model.tar.gz", False),
    ("model.tar.gz/", False),
    ("model.tar.gz/.", False),
    ("", False),
    ("model.tar.gz\0", False),
    ("model.tar.gz\\", False),
    # Directories, and what is no file
    ("folder", False),
    ("folder/", False),
    ("empty", False),
    ("model.tar.gz/below", False),
    ("pipe", False),
    ("nothing", False),
    # Names that are hidden, and those of the store's own files
    (".hidden", True),
    ("folder/.hidden", True),
    (".localmme", False),
    (".localmme/own", False),
    ("folder/.localmme/own", True),
    ("folder/.localmme", False),
    # Links
    ("link", True),
    ("folder/link", True),
    ("link-out", True),
    ("link-of-link", True),
    ("link-to-nowhere", False),
    ("link-to-itself", False),
    ("link-to-folder", False),
    ("link-to-folder/model.tar.gz", False),
    ("link-to-outside/outside", False),
    ("folder/link-to-folder/model.tar.gz", False),
    ("loop/model.tar.gz", False),
    # What is too long, or not UTF-8
    ("n" * 255, True),
    ("n" * 256, False),
    ("/".join(["n" * 200] * 6), False),
    ("not-utf-8-\udcff", False),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory of S3 with one bucket, and a file outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "outside").write_text("outside")
    root = tmp_path / "s3"
    bucket = root / "bucket"
    for name in (
        *("model.tar.gz", "folder/model.tar.gz", "folder/deeper/model.tar.gz", COMPOSED, ".hidden", "folder/.hidden"),
        *(".localmme/own", "folder/.localmme/own", "n" * 255, "not-utf-8-\udcff"),
    ):
        (bucket / name).parent.mkdir(parents=True, exist_ok=True)
        (bucket / name).write_text("data")
    (bucket / "empty" / "directories").mkdir(parents=True)
    os.mkfifo(bucket / "pipe")
    for link, target in {
        "link": "model.tar.gz",
        "folder/link": "../model.tar.gz",
        "link-out": outside / "outside",
        "link-of-link": "link-out",
        "link-to-nowhere": "nowhere",
        "link-to-itself": "link-to-itself",
        "link-to-folder": "folder",
        "link-to-outside": outside,
        "folder/link-to-folder": "deeper",
        "loop": ".",
    }.items():
        (bucket / link).symlink_to(target)
    return root


@pytest.fixture
def store(root: Path) -> Iterator[ObjectStore]:
    store = open_store(root, "us-east-1")
    yield store
    store.close()


@pytest.mark.parametrize("key, is_there", ROWS, ids=[repr(key)[:40] for key, _ in ROWS])
def test_an_object_of_s3_is_an_archive_and_the_other_way_round(
    root: Path, store: ObjectStore, key: str, is_there: bool
) -> None:
    objects = {listed.key for listed in store.listing("bucket").objects}
    assert (key in objects) == (store.entry_if_any("bucket", key) is not None) == is_there
    source = DirectorySource(root / "bucket", S3Url("bucket"))
    assert (key in source.objects()) == is_there
    # The same file of a prefix, with a slash at its end or without, and of a directory that nobody says is a bucket.
    sources = [(source, key), (DirectorySource(root), f"bucket/{key}")]
    if key.startswith("folder/"):
        sources += [(DirectorySource(root / "bucket", S3Url("bucket", "fold")), key[4:])]
        sources += [(DirectorySource(root / "bucket", S3Url("bucket", "folder/")), key[7:])]
    for archives, target_model in sources:
        if is_there:
            with archives.open(target_model) as (file, version):
                assert file.read() in (b"data", b"outside")
            assert archives.version(target_model) == version
        else:
            with pytest.raises(ArchiveNotFound):
                archives.version(target_model)
            with pytest.raises(ArchiveNotFound), archives.open(target_model):
                pass
    located = False
    with suppress(SetupError):
        located = bool(key) and not key.endswith("/") and bool(locator(root)(f"s3://bucket/{key}", False))
    assert located == is_there


@pytest.mark.parametrize("key", [key for key, is_there in ROWS if not is_there])
def test_what_is_written_or_deleted_stays_in_the_bucket(root: Path, store: ObjectStore, key: str) -> None:
    def everything() -> set[Path]:
        return {path for path in root.parent.rglob("*") if ".localmme" not in path.parts}

    before = everything()
    incoming = store.incoming()
    with suppress(InvalidKey):
        store.commit("bucket", key, incoming, ObjectAttributes(""))
    incoming.discard()
    written = everything() - before
    assert all(path.relative_to(root / "bucket").as_posix() in f"{key}/" for path in written)
    with suppress(NoSuchKey):
        store.delete("bucket", key)
    assert (root.parent / "outside" / "outside").read_text() == "outside"
    assert (root / "bucket" / "folder" / "deeper" / "model.tar.gz").read_text() == "data"


def test_a_bucket_may_be_a_link_and_so_may_the_top_of_a_directory_that_holds_buckets(
    root: Path, store: ObjectStore
) -> None:
    (root / "linked").symlink_to(root.parent / "outside")
    assert [listed.key for listed in store.listing("linked").objects] == ["outside"]
    assert DirectorySource(root).version("linked/outside")
    assert "linked/outside" in DirectorySource(root).objects()
    assert DirectorySource(root / "bucket").version("link-to-folder/model.tar.gz")
    with pytest.raises(ArchiveNotFound):
        DirectorySource(root / "bucket").version("loop/link-to-folder/model.tar.gz")


def test_hidden_names_are_objects_but_no_archives(root: Path) -> None:
    names = [name for name, _ in DirectorySource(root / "bucket", S3Url("bucket")).archives()]
    assert "folder/model.tar.gz" in names and not [name for name in names if "/." in f"/{name}"]


@pytest.mark.parametrize("there, key", [("Model", "model"), ("folder/a", "FOLDER/a"), (COMPOSED, DECOMPOSED)])
def test_a_file_system_that_takes_one_spelling_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, key: str
) -> None:
    bucket = tmp_path / "bucket"
    (bucket / there).parent.mkdir(parents=True)
    (bucket / there).write_text("data")
    assert not is_spelled_otherwise(bucket, [key])  # this one does not

    def folded(path: str | Path) -> str:
        return unicodedata.normalize("NFC", str(path)).casefold()

    def lexists(path: str | Path) -> bool:
        return folded(path) in map(folded, (tmp_path, *tmp_path.rglob("*")))

    monkeypatch.setattr(os.path, "lexists", lexists)
    store = open_store(tmp_path, "us-east-1")
    assert store.entry("bucket", there).size == 4
    assert store.entry_if_any("bucket", key) is None
    with pytest.raises(InvalidKey, match="spelt differently"):
        store.commit("bucket", key, store.incoming(), ObjectAttributes(""))
    store.delete("bucket", key)
    assert (bucket / there).read_text() == "data"
    archives = DirectorySource(bucket, S3Url("bucket"))
    assert archives.version(there)
    with pytest.raises(ArchiveNotFound):
        archives.version(key)
    store.close()


@given(key=st.text(max_size=40))
def test_the_names_of_a_key_stay_below_the_bucket(key: str) -> None:
    try:
        found = names_of(key)
    except InvalidKey:
        return
    assert "/".join(found) == key.removesuffix("/")
    path = os.path.normpath(os.path.join("/bucket", *found))
    assert path.startswith("/bucket/")


@pytest.mark.parametrize(
    "key, kind",
    [("a" * 1025, KeyTooLong), ("é" * 513, KeyTooLong), ("a/" + "b" * 256, NameTooLong), ("é" * 128, NameTooLong)],
)
def test_what_is_too_long_is_refused_as_that(key: str, kind: type[InvalidKey]) -> None:
    with pytest.raises(kind):
        names_of(key)


@pytest.mark.parametrize(
    "name, is_name, may_be_made",
    [
        ("models", True, True),
        ("my.models-2", True, True),
        ("Models_2", True, False),
        ("ab", True, False),
        ("a..b", True, False),
        ("192.168.0.1", True, False),
        ("endpoints", True, False),
        ("porto.tar.gz", True, False),  # with --unpacked, a directory porto may stand for it
        (".hidden", False, False),
        ("..", False, False),
        ("", False, False),
        ("a/b", False, False),
        ("a" * 255, True, False),
        ("a" * 256, False, False),
    ],
)
def test_names_of_buckets(name: str, is_name: bool, may_be_made: bool) -> None:
    assert is_bucket_name(name) == is_name
    if may_be_made:
        check_new_bucket(name)
    else:
        with pytest.raises(InvalidBucketName):
            check_new_bucket(name)
