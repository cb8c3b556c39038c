"""The registry's file: what is damaged is refused and left as it is."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from emulator.errors import SetupError
from emulator.services.sagemaker.records import ModelRecord
from emulator.services.sagemaker.registry import Registry


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def of_another_version(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()


def of_other_content(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute('UPDATE records SET document = \'{"kind": "model", "colour": 1}\'')
    database.close()


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: write(path, b"this is no database" * 100), "file is not a database"),
        (lambda path: write(path, path.read_bytes()[:4096] + b"\xff" * 8192), "cannot be used"),
        (of_another_version, "is of another version of localmme"),
        (of_other_content, "cannot be used"),
        (a_directory, "cannot be used"),
    ],
    ids=["no database", "corrupt", "another version", "other content", "a directory"],
)
def test_a_file_that_cannot_be_used_is_explained(tmp_path: Path, spoil: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "registry.db"
    registry = Registry.open(path)
    for number in range(50):
        registry.put(ModelRecord(f"m{number}", {"ModelName": f"m{number}", "Environment": {"A": "x" * 200}}))
    registry.close()
    spoil(path)
    with pytest.raises(SetupError, match=words) as caught:
        Registry.open(path)
    assert str(path) in str(caught.value) and "--state-dir" in str(caught.value)


def overwritten(seed: int, content: Callable[[random.Random], bytes]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        rng = random.Random(seed)
        with path.open("r+b") as file:
            file.seek(rng.randrange(path.stat().st_size))
            file.write(content(rng))

    return spoil


DAMAGES: dict[str, Callable[[Path], None]] = {
    # One of no byte is what SQLite makes first: the emulator was killed when it had just begun.
    **{f"truncated to {n}": lambda path, n=n: os.truncate(path, n) for n in (1, 99, 100, 4095, 4096, 8192, 20_000)},
    "of zeros": lambda path: write(path, bytes(path.stat().st_size)),
    "records of other types": lambda path: _update(path, '{"kind": "model", "name": 5, "asked": {}}'),
    "records of no kind": lambda path: _update(path, '{"kind": "table", "name": "m1", "asked": {}}'),
    **{f"zeros {n}": overwritten(n, lambda rng: bytes(rng.randint(1, 4096))) for n in range(12)},
    **{f"garbage {n}": overwritten(n, lambda rng: rng.randbytes(rng.randint(1, 4096))) for n in range(12)},
}


def _update(path: Path, document: str) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE records SET document = ? WHERE name = 'm1'", (document,))
    database.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[str]]:
    """The content of a file, and its records as text."""
    path = tmp_path_factory.mktemp("whole") / "registry.db"
    registry = Registry.open(path)
    for number in range(100):
        registry.put(ModelRecord(f"m{number}", {"ModelName": f"m{number}", "Environment": {"A": "x" * 200}}))
    records = texts(registry)
    registry.close()
    return path.read_bytes(), records


def texts(registry: Registry) -> list[str]:
    return sorted(str(vars(record)) for record in registry.all(ModelRecord))


@pytest.mark.parametrize("spoil", DAMAGES.values(), ids=DAMAGES)
def test_nothing_is_lost_silently_and_a_damaged_file_is_left_as_it_is(
    tmp_path: Path, whole: tuple[bytes, list[str]], spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(whole[0])
    spoil(path)
    spoilt = path.read_bytes()
    assert spoilt
    try:
        registry = Registry.open(path)
    except SetupError as error:
        assert str(path) in str(error) and path.read_bytes() == spoilt
    else:
        assert texts(registry) == whole[1]
        registry.close()
