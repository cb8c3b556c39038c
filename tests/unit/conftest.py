"""Handlers that are imported in the test's own process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.handlers import Models


@pytest.fixture
def fresh_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is imported of the test's own files, and from where, is as before afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
            if name in before:
                sys.modules[name] = before[name]


@pytest.fixture
def load(tmp_path: Path, fresh_imports: None, caplog: pytest.LogCaptureFixture) -> Models:
    """Makes models, and loads them."""
    caplog.set_level(logging.INFO)
    return Models(tmp_path)
