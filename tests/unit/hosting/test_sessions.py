"""The sessions of a variant: which of its instances has one, and for how long."""

from __future__ import annotations

from emulator.clock import Clock
from emulator.hosting.sessions import Sessions

LATER = 32472144000.0  # the year 2999, in seconds since 1970


def test_a_session_is_where_it_was_opened_until_it_is_closed() -> None:
    sessions: Sessions[str] = Sessions(Clock())
    sessions.open(b"a", "i-1", LATER)
    sessions.open(b"b-2", "i-2", LATER)
    assert (sessions.instance(b"a"), sessions.instance(b"b-2"), sessions.instance(b"c")) == ("i-1", "i-2", None)
    sessions.close(b"a")
    sessions.close(b"never")
    assert (sessions.instance(b"a"), sessions.instance(b"b-2")) == (None, "i-2")


def test_a_session_ends_when_its_model_said() -> None:
    now = 0.0
    sessions: Sessions[str] = Sessions(Clock(now=lambda: now))
    sessions.open(b"a", "i-1", 60)
    now = 59
    assert sessions.instance(b"a") == "i-1"
    now = 61
    assert sessions.instance(b"a") is None
    sessions.open(b"late", "i-1", 30)
    assert sessions.instance(b"late") is None


def test_sessions_are_bounded_and_go_with_their_instance() -> None:
    sessions: Sessions[str] = Sessions(Clock(), most=3)
    for name in (b"a", b"b", b"c", b"d"):
        sessions.open(name, "i-2" if name == b"c" else "i-1", LATER)
    assert len(sessions) == 3 and sessions.instance(b"a") is None
    sessions.lose("i-1")
    assert len(sessions) == 1 and sessions.instance(b"c") == "i-2"
