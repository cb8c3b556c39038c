"""What is recorded of a load: the modules of libraries, and the variables that the handler itself sets."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.model_server.workers.recording import Recording

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_imports: None) -> Write:
    """Writes modules of packages, and of the handler's own."""
    installed = tmp_path / "site-packages"
    installed.mkdir()
    sys.path[:0] = [str(tmp_path), str(installed)]
    for name in ("OF_HANDLER", "OF_LIBRARY"):
        monkeypatch.setenv(name, "as before")

    def write(name: str, text: str, is_package: bool = True) -> None:
        ((installed if is_package else tmp_path) / f"{name}.py").write_text(text)
        importlib.invalidate_caches()

    return write


def recorded(handler: str) -> tuple[Recording, list[str]]:
    """A recording of the import of a module, and the variables for which it wanted another process."""
    changed: list[str] = []
    recording = Recording(changed.append)
    with recording:
        importlib.import_module(handler)
    return recording, changed


def test_the_modules_of_packages_are_recorded_in_their_order(write: Write) -> None:
    write("first_package", "import second_package")
    write("second_package", "")
    write("own_file", "", is_package=False)
    write("a_handler", "import own_file, first_package", is_package=False)
    recording, _ = recorded("a_handler")
    # Of an import, that which was complete first.
    assert without_files(recording) == {"modules": ["second_package", "first_package"], "early": 2, "environment": {}}


def test_what_is_imported_before_it_begins_is_not_recorded(write: Write) -> None:
    write("a_debugger", "")
    write("a_package", "")
    recording = Recording(lambda variable: None)
    importlib.import_module("a_debugger")
    with recording:
        importlib.import_module("a_package")
    assert recording.fields()["modules"] == ["a_package"]


def without_files(recording: Recording) -> dict[str, Any]:
    """What is recorded, but for the handler's own files."""
    return {name: value for name, value in recording.fields().items() if name != "files"}


@pytest.mark.parametrize("is_preloaded", [False, True])
def test_only_variables_that_the_handler_itself_changes_count(
    write: Write, monkeypatch: pytest.MonkeyPatch, is_preloaded: bool
) -> None:
    monkeypatch.setattr(Recording, "is_preloaded", is_preloaded)
    write("before_it", "import os; os.environ['OF_LIBRARY'] = '1'")
    write("after_it", "")
    setting = "os.environ['OF_HANDLER'] = 'as before'; os.environ['OF_HANDLER'] = 'red'"
    write("a_handler", f"import os, before_it; {setting}; import after_it", is_package=False)
    recording, changed = recorded("a_handler")
    expected = {"modules": ["before_it", "after_it"], "early": 1, "environment": {"OF_HANDLER": "red"}}
    assert without_files(recording) == expected
    assert changed == ["OF_HANDLER"] * is_preloaded
    assert os.environ["OF_LIBRARY"] == "1"


def test_variables_that_are_removed_count_and_the_environment_is_as_python_has_it_afterwards(write: Write) -> None:
    functions = os.putenv, os.unsetenv
    write("a_handler", "import os; del os.environ['OF_HANDLER']", is_package=False)
    recording, _ = recorded("a_handler")
    assert without_files(recording) == {"modules": [], "early": 0, "environment": {}}
    assert "OF_HANDLER" not in os.environ and (os.putenv, os.unsetenv) == functions
