"""What is said of a package that a handler imports, and that is not installed."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from emulator.model_server.handlers.context import Context
from emulator.model_server.handlers.packages import explain
from emulator.model_server.handlers.service import Service


def importing(module: str) -> Exception:
    with pytest.raises(ImportError) as caught:
        importlib.import_module(module)
    return caught.value


@pytest.mark.parametrize(("module", "package"), [("mms.service", "multi-model-server"), ("torch", "torch")])
def test_a_missing_package_comes_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    assert explain(importing(module)).endswith(f"Install there: {sys.executable} -m pip install {package}")


def test_a_module_that_may_be_in_an_archive_does_not() -> None:
    what = "ModuleNotFoundError: No module named 'no_such_module' (test_packages.py, line "
    assert explain(importing("no_such_module")).startswith(what)
    assert "Install" not in explain(importing("no_such_module"))
    assert explain(ValueError("x")) == "ValueError: x"


@pytest.mark.parametrize(
    ("file", "text", "module", "listed"),
    [
        ("code/requirements.txt", "numpy\nNo.Such-Package[all]==1 # needed\n", "no_such_package", "No.Such-Package"),
        ("requirements.txt", "multi-model-server\n", "mms.service", "multi-model-server"),
        ("code/requirements.txt", "numpy\n", "no_such_package", ""),
    ],
)
def test_a_missing_module_that_the_archive_lists_is_reported_as_one_that_nobody_installs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, text: str, module: str, listed: str
) -> None:
    monkeypatch.setitem(sys.modules, "mms", None)
    (tmp_path / "code").mkdir()
    (tmp_path / file).write_text(text)
    told = explain(importing(module), str(tmp_path))
    assert (f"{file} lists {listed}, but multi-model containers install nothing of that" in told) == bool(listed)
    assert told.endswith(f"-m pip install {listed}") == bool(listed)


def test_an_invocation_whose_handler_imports_a_missing_package_says_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "mms", None)

    def handle(data: Any, context: Context) -> Any:
        import mms  # type: ignore[import-not-found]

        return [mms]

    service = Service(handle, Context("m", str(tmp_path), None, None))
    response = service.invoke(bytearray(b"?"), "id", "", [])
    assert response.status == 500 and isinstance(response.body, bytes)
    assert json.loads(response.body)["message"].endswith("-m pip install multi-model-server")
