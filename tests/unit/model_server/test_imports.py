"""What a handler's file imports, and what is found beside it rather than among packages."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from emulator.model_server.handlers.imports import imports_of, is_from_library, library_directories, shadowed

HANDLER = """
from __future__ import annotations
import json, numpy.linalg as la
from sklearn import ensemble, tree
from helpers import *
from . import never
try:
    import torch
except ImportError:
    torch = None
def model_fn(model_dir):
    import lazy
"""


def test_the_imports_of_a_handler_are_those_that_are_always_executed(tmp_path: Path) -> None:
    (tmp_path / "h.py").write_text(HANDLER)
    found = {module: list(names) for module, names in imports_of(str(tmp_path / "h.py"))}
    expected = {
        "__future__": ["annotations"],
        "json": [],
        "numpy.linalg": [],
        "sklearn": ["ensemble", "tree"],
        "helpers": [],
        "torch": [],
    }
    assert found == expected


def test_files_beside_a_handler_are_no_packages_and_their_imports_count_too(tmp_path: Path) -> None:
    (tmp_path / "h.py").write_text("import helpers, broken, json")
    (tmp_path / "helpers.py").write_text("import h, helpers, numpy")
    (tmp_path / "broken.py").write_text("import")
    assert [module for module, _ in imports_of(str(tmp_path / "h.py"))] == ["numpy", "json"]


@pytest.mark.parametrize("text", ["import", "\0", "def"])
def test_a_handler_that_cannot_be_parsed_has_no_imports(tmp_path: Path, text: str) -> None:
    (tmp_path / "h.py").write_text(text)
    assert imports_of(str(tmp_path / "h.py")) == []
    assert imports_of(str(tmp_path / "missing.py")) == []


def test_a_file_or_package_in_a_directory_hides_a_module_and_a_plain_folder_does_not(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("")
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy" / "__init__.py").write_text("")
    (tmp_path / "code").mkdir()
    (tmp_path / "json.txt").write_text("")
    names = ["numpy.linalg", "numpy", "scipy.sparse", "code", "json"]
    assert shadowed(names, [str(tmp_path / "missing"), str(tmp_path)]) == {"numpy", "scipy"}


def test_pythons_own_modules_and_installed_packages_are_libraries(tmp_path: Path, fresh_imports: None) -> None:
    installed = tmp_path / "site-packages"
    installed.mkdir()
    for directory, name in ((installed, "an_installed_one"), (tmp_path, "one_of_ours")):
        (directory / f"{name}.py").write_text("")
        sys.path.insert(0, str(directory))
        __import__(name)
    directories = library_directories()
    assert is_from_library("an_installed_one", sys.modules["an_installed_one"], directories)
    assert is_from_library("json", json, directories)
    assert not is_from_library("one_of_ours", sys.modules["one_of_ours"], directories)
    assert not is_from_library("another_name", json, directories)
    assert not is_from_library("sys", sys, directories)
    assert not is_from_library("gone", None, directories)
