"""Times of day as people write and read them: 12:03, 12:03:20, ISO 8601."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from emulator.errors import SetupError

_OF_TODAY = ((" %H:%M", 60.0), (" %H:%M:%S", 1.0))  # with how long a time that is written so lasts, in seconds


class Moment(NamedTuple):
    """What a time names, in seconds since 1970: 12:03 is the whole minute."""

    start: float
    end: float

    def __contains__(self, time: object) -> bool:
        return isinstance(time, float) and self.start <= time < self.end


def parse_moment(text: str, now: float) -> Moment:
    """A time of today, or one of ISO 8601: in this machine's time zone unless it says another.

    Raises SetupError when it is neither, or is still to come.
    """
    moment = _of_today(text, now) or _iso_8601(text)
    if moment is None:
        raise SetupError(f"{text!r} is not a time. Write one of today, 12:03 or 12:03:20, or 2026-01-31T12:03:20.")
    if moment.start > now:
        raise SetupError(f"{text} is still to come. A time of another day has its date: 2026-01-31T12:03.")
    return moment


def shown_time(time: float, now: float) -> str:
    """``12:03:20``, with the date if that is not the day of ``now``."""
    then = datetime.fromtimestamp(time)
    is_today = then.date() == datetime.fromtimestamp(now).date()
    return then.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def _of_today(text: str, now: float) -> Moment | None:
    for form, seconds in _OF_TODAY:
        try:
            then = datetime.strptime(f"{datetime.fromtimestamp(now):%Y-%m-%d} {text}", f"%Y-%m-%d{form}")
        except ValueError:
            continue
        return Moment(then.timestamp(), then.timestamp() + seconds)
    return None


def _iso_8601(text: str) -> Moment | None:
    whole = text.upper().replace("Z", "+00:00")  # which Python knows only since 3.11
    try:
        then = datetime.fromisoformat(whole)
    except ValueError:
        return None
    _, _, time = whole.replace(" ", "T").partition("T")
    if not time:  # a date alone
        return None
    has_seconds = time.split("+")[0].split("-")[0].count(":") > 1
    return Moment(then.timestamp(), then.timestamp() + (1.0 if has_seconds else 60.0))
