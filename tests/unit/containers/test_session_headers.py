"""What the headers of an answer say of sessions, and which of them are invalid."""

from __future__ import annotations

import pytest

from emulator.containers.http_connection import Answer
from emulator.containers.session_headers import CLOSED, OPENED, closed_session, opened_session


@pytest.mark.parametrize("space", [b"", b" "])
def test_an_answer_opens_a_session_until_a_time(space: bytes) -> None:
    answer = Answer(200, [(OPENED, b"b-2;" + space + b"Expires=1970-01-01T00:01:00Z")])
    assert (opened_session(answer), closed_session(answer)) == ((b"b-2", 60.0), None)


def test_an_answer_closes_a_session() -> None:
    answer = Answer(200, [(CLOSED, b"b-2")])
    assert (opened_session(answer), closed_session(answer)) == (None, b"b-2")


def test_most_answers_say_nothing_of_sessions() -> None:
    answer = Answer(200, [(b"content-type", b"text/plain")])
    assert (opened_session(answer), closed_session(answer)) == (None, None)


@pytest.mark.parametrize(
    "header",
    [b"", b"a", b"a; Expires=tomorrow", b"a; Expires=2999-13-01T00:00:00Z", b"-; Expires=2999-01-01T00:00:00Z"],
)
def test_a_header_that_is_invalid_is_explained(header: bytes) -> None:
    with pytest.raises(ValueError, match="takes `ID; Expires="):
        opened_session(Answer(200, [(OPENED, header)]))
