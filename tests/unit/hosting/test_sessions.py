"""Stateful sessions: which instance has one, for how long, and what does not open one."""

from __future__ import annotations

import pytest

from emulator.clock import Clock
from emulator.hosting.sessions import CLOSED, OPENED, Sessions


def answered(sessions: Sessions[str], instance: str, **headers: bytes) -> bool:
    names = {OPENED: headers.get("opened"), CLOSED: headers.get("closed")}
    return sessions.answered(names.get, instance)


def test_a_session_is_where_it_was_opened_until_it_is_closed() -> None:
    sessions: Sessions[str] = Sessions(Clock())
    assert answered(sessions, "i-1", opened=b"a; Expires=2999-01-01T00:00:00Z")
    assert answered(sessions, "i-2", opened=b"b-2;Expires=2999-01-01T00:00:00Z")
    assert answered(sessions, "i-2")
    assert (sessions.instance(b"a"), sessions.instance(b"b-2"), sessions.instance(b"c")) == ("i-1", "i-2", None)
    assert answered(sessions, "i-1", closed=b"a") and answered(sessions, "i-1", closed=b"never")
    assert (sessions.instance(b"a"), sessions.instance(b"b-2")) == (None, "i-2")


def test_a_session_ends_when_its_model_said() -> None:
    now = 0.0
    sessions: Sessions[str] = Sessions(Clock(now=lambda: now))
    answered(sessions, "i-1", opened=b"a; Expires=1970-01-01T00:01:00Z")
    now = 59
    assert sessions.instance(b"a") == "i-1"
    now = 61
    assert sessions.instance(b"a") is None
    answered(sessions, "i-1", opened=b"late; Expires=1970-01-01T00:00:30Z")
    assert sessions.instance(b"late") is None


def test_sessions_are_bounded_and_go_with_their_instance() -> None:
    sessions: Sessions[str] = Sessions(Clock(), most=3)
    for name in (b"a", b"b", b"c", b"d"):
        answered(sessions, "i-2" if name == b"c" else "i-1", opened=name + b"; Expires=2999-01-01T00:00:00Z")
    assert len(sessions) == 3 and sessions.instance(b"a") is None
    sessions.lose("i-1")
    assert len(sessions) == 1 and sessions.instance(b"c") == "i-2"


@pytest.mark.parametrize(
    "header",
    [b"", b"a", b"a; Expires=tomorrow", b"a; Expires=2999-13-01T00:00:00Z", b"-; Expires=2999-01-01T00:00:00Z"],
)
def test_what_is_no_session_is_told(header: bytes) -> None:
    sessions: Sessions[str] = Sessions(Clock())
    assert not answered(sessions, "i-1", opened=header)
    assert not len(sessions)
