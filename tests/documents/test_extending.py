"""The recipes of docs/extending.md, applied to a copy of the repository: what they add works."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.documents.reader import blocks
from tests.support.repository import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "extending.md"
RECIPES = [block for block in blocks(DOCUMENT) if block.language == "diff"]
NEW_TEST = re.compile(r"^--- /dev/null\n\+\+\+ b/(tests/\S+)$", re.MULTILINE)


def test_every_recipe_has_a_change_and_its_test() -> None:
    assert len(RECIPES) == DOCUMENT.read_text("utf-8").count("\n## ")
    for recipe in RECIPES:
        assert NEW_TEST.findall(recipe.text), f"{recipe} adds no test"
        assert recipe.text.count("\n+++ b/") <= 4, f"{recipe} takes more than three places: make the design need fewer"


def test_what_the_recipes_add_works(tmp_path: Path) -> None:
    for directory in ("emulator", "localmme", "tests"):
        shutil.copytree(REPOSITORY / directory, tmp_path / directory, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "setup.cfg", tmp_path)
    for recipe in RECIPES:
        applied = subprocess.run(
            ["git", "apply", "-"], cwd=tmp_path, input=recipe.text, capture_output=True, text=True, timeout=60
        )
        assert applied.returncode == 0, f"{recipe} does not fit the code any more:\n{applied.stderr}"
    tests = [test for recipe in RECIPES for test in NEW_TEST.findall(recipe.text)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stdout + ended.stderr
