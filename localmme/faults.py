"""Faults from Python: calls of a running emulator that fail, wait or break off."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from emulator.state_directory import StateDirectory
from localmme.pages import act

VARIABLES = ("LOCALMME_URL", "AWS_ENDPOINT_URL")  # where an emulator is, unless it is named


class Fault:
    """A fault that waits for calls. In a ``with`` statement it is cleared at the end of the block."""

    def __init__(self, url: str, number: int, sentence: str, directory: StateDirectory | None = None) -> None:
        self._url, self._directory = url, directory
        self._number, self._sentence = number, sentence

    def __repr__(self) -> str:
        return f"<localmme fault {self._sentence}>"

    def __enter__(self) -> Fault:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # it is gone with its emulator
            self.clear()

    def clear(self) -> None:
        """No call meets it any more. It may be over already."""
        act(self._url, "clear-faults", {"number": self._number}, directory=self._directory)


def inject(url: str, directory: StateDirectory | None, name: str, members: dict[str, Any]) -> Fault:
    """Make a fault; members that are None are left out. Raises SetupError and OSError."""
    given = {member: value for member, value in members.items() if value is not None}
    answer = act(url, "fault", {"fault": name, **given}, directory=directory)
    return Fault(url, answer["number"], answer["message"], directory)


def fault(
    name: str,
    *,
    times: int | None = None,
    model: str | None = None,
    endpoint: str | None = None,
    url: str | None = None,
    **options: Any,
) -> Fault:
    """Make calls of the running emulator fail, wait or break off, as ``Emulator.fault`` does.

    The emulator is at ``url``, or where ``LOCALMME_URL`` or ``AWS_ENDPOINT_URL`` says, or the only one of this user
    that has a name or a port of its own. Raises SetupError when there is none, or that is no fault.
    """
    from emulator.errors import SetupError
    from localmme.background import address_of

    url = url or next(filter(None, map(os.environ.get, VARIABLES)), None) or address_of(None)
    members = {"times": times, "target_model": model, "endpoint_name": endpoint, **options}
    try:
        return inject(url.rstrip("/"), None, name, members)
    except OSError as error:
        raise SetupError(f"No emulator answers at {url}: {error}.") from None
