"""Waiting for an emulator that has been started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from localmme import serve_process


def test_an_emulator_that_ends_while_it_is_looked_at_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = iter([None, 1])
    process: Any = SimpleNamespace(pid=7, poll=lambda: next(codes), returncode=1)
    directory: Any = SimpleNamespace(record=lambda: SimpleNamespace(pid=7, url="http://127.0.0.1:1"))
    monkeypatch.setattr(serve_process, "page", lambda *_: {"message": "The emulator is ending."})
    monkeypatch.setattr(serve_process, "last_words", lambda _, otherwise: otherwise)
    with pytest.raises(serve_process.ServeError, match="localmme serve ended with exit code 1"):
        serve_process.wait_in_service(process, directory, 60)
