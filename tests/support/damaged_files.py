"""What may happen to an SQLite file while nobody has it open."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

Spoil = Callable[[Path], None]
PAGE = 4096


def truncated_to(size: int) -> Spoil:
    return lambda path: os.truncate(path, size)


def replaced_by(content: Callable[[int], bytes]) -> Spoil:
    """By this content, which is made of the file's size."""

    def spoil(path: Path) -> None:
        path.write_bytes(content(path.stat().st_size))

    return spoil


def overwritten(seed: int, at: Callable[[random.Random, int], int], content: Callable[[random.Random], bytes]) -> Spoil:
    """In the place that ``at`` finds in a file of that size."""

    def spoil(path: Path) -> None:
        rng = random.Random(seed)
        with path.open("r+b") as file:
            file.seek(at(rng, path.stat().st_size))
            file.write(content(rng))

    return spoil


def changed_by(*statements: str) -> Spoil:
    """By what another program makes of its tables."""

    def spoil(path: Path) -> None:
        with sqlite3.connect(path) as database:
            for statement in statements:
                database.execute(statement)
        database.close()

    return spoil


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").touch()


def _anywhere(rng: random.Random, size: int) -> int:
    return rng.randrange(size)


def _any_page(rng: random.Random, size: int) -> int:
    return rng.randrange(size // PAGE) * PAGE


# Of any file, whatever is in it. One of no byte is not among them: that is what SQLite makes first.
DAMAGES: dict[str, Spoil] = {
    **{
        f"truncated to {size}": truncated_to(size)
        for size in (1, 50, 99, 100, 512, PAGE - 1, PAGE, 2 * PAGE, 20_000)
    },
    "of zeros": replaced_by(bytes),
    "of garbage": replaced_by(lambda size: random.Random(1).randbytes(size)),
    "a text": replaced_by(lambda _: b"not SQLite\n"),
    "a garbage header": overwritten(1, lambda rng, size: 0, lambda rng: rng.randbytes(100)),
    **{f"a page of zeros {n}": overwritten(n, _any_page, lambda rng: bytes(PAGE)) for n in range(5)},
    **{f"a page of garbage {n}": overwritten(n, _any_page, lambda rng: rng.randbytes(PAGE)) for n in range(5)},
    **{f"zeros {n}": overwritten(n, _anywhere, lambda rng: bytes(rng.randint(1, PAGE))) for n in range(5)},
    **{f"garbage {n}": overwritten(n, _anywhere, lambda rng: rng.randbytes(rng.randint(1, PAGE))) for n in range(5)},
    **{f"bytes {n}": overwritten(n, _anywhere, lambda rng: rng.randbytes(rng.randint(1, 64))) for n in range(10)},
}  # fmt: skip
