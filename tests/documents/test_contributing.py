"""CONTRIBUTING's table of rooms and their tests names every room, every test file, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.repository import REPOSITORY

TESTS = REPOSITORY / "tests"
ROW = re.compile(r"^\| `([\w/]+/)`[^|]*\|(.*)\|(.*)\|$", re.MULTILINE)


def rows() -> dict[Path, set[Path]]:
    """By room, the test files that the table names."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8").split("## Which tests show what")[1]
    return {
        REPOSITORY / room: {file for cell in cells for file in files(re.findall(r"`([^`]+)`", cell))}
        for room, *cells in ROW.findall(text)
    }


def files(names: list[str]) -> set[Path]:
    """What a cell names: directories, and files, which without a directory are where the file before them is."""
    found: set[Path] = set()
    directory = ""
    for name in names:
        if name.endswith("/"):
            matching = set((TESTS / name).rglob("test_*.py"))
        else:
            directory, _, file = name.rpartition("/") if "/" in name else (directory, "/", name)
            matching = set((TESTS / directory).glob(file))
        assert matching, f"there is no test {name}"
        found |= matching
    return found


def test_every_test_is_in_the_table() -> None:
    assert set(TESTS.rglob("test_*.py")) - set().union(*rows().values()) == set()


def test_every_room_is_in_the_table() -> None:
    named = set(rows())
    modules = [*(REPOSITORY / "emulator").rglob("*.py"), *(REPOSITORY / "localmme").rglob("*.py")]
    assert {module for module in modules if not named & set(module.parents)} == set()
    # The emulator's own row is that of the modules beside its rooms.
    rooms = {init.parent for init in (REPOSITORY / "emulator").glob("*/__init__.py")}
    services = {init.parent for init in (REPOSITORY / "emulator" / "services").glob("*/__init__.py")}
    assert rooms - {REPOSITORY / "emulator" / "services"} | services <= named
    assert all(room.is_dir() for room in named)
