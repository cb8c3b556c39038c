"""The calls that an emulator has had, for tests to assert on: what reached its containers, and what came of it."""

from __future__ import annotations

import functools
import json
import urllib.error
import urllib.parse
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from emulator.entries import CallEntry
from localmme.pages import opened, page

NOT_FOUND = 404


class BodyNotKept(LookupError):
    """The body of a call is not there any more: the emulator keeps those of the latest calls, 8 MiB in all."""


@dataclass(frozen=True)
class Call:
    """A call of InvokeEndpoint or InvokeEndpointWithResponseStream, answered or refused."""

    sequence: int  # calls that came later have a higher one
    time: float  # when it came, in seconds since 1970
    endpoint_name: str
    target_model: str  # empty = it named none
    operation: str  # as in its path: invocations, invocations-response-stream, async-invocations
    headers: dict[str, str]  # that reached the container, but Host and the length
    request_bytes: int
    status: int  # of the answer; 0 = its connection was cut
    error_code: str  # such as ModelError; empty = it went well
    error: str
    fault: str  # what a fault did to it, in words; empty = there was none
    duration_seconds: float
    cold: bool | None  # whether it waited for its model; None = it came to no container of many models
    _url: str

    @functools.cached_property
    def body(self) -> bytes:
        """The request's body as it came. Raises BodyNotKept."""
        try:
            with opened(self._url, f"calls/{self.sequence}/body", 60.0) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code != NOT_FOUND:
                raise
            raise BodyNotKept(
                f"The body of this call of {self.endpoint_name} ({self.request_bytes:,} bytes) is not kept: those of "
                "the latest calls are, 8 MiB in all. Look at it sooner, or send less."
            ) from None

    def json(self) -> Any:
        """The request's body, parsed. Raises BodyNotKept, and ValueError if it is no JSON."""
        return json.loads(self.body)


def read_calls(url: str, model: str | None, endpoint: str | None, since: int) -> list[Call]:
    """The kept calls after that sequence number; see Emulator.calls. Raises OSError and PageRefused."""
    found: list[CallEntry] = page(url, f"entries?{urllib.parse.urlencode({'type': 'call', 'since': since})}")["entries"]
    return [
        _call(entry, url)
        for entry in found
        if (model is None or fnmatchcase(entry["target_model"], model))
        and (endpoint is None or entry["endpoint_name"] == endpoint)
    ]


def latest_sequence(url: str) -> int:
    """The sequence number of what happened last. Raises OSError and PageRefused."""
    return int(page(url, "entries?limit=0")["sequence"])


def _call(entry: CallEntry, url: str) -> Call:
    return Call(
        sequence=entry["sequence"],
        time=entry["time"],
        endpoint_name=entry["endpoint_name"],
        target_model=entry["target_model"],
        operation=entry["operation"],
        headers=entry["request_headers"],
        request_bytes=entry["request_bytes"],
        status=entry["status"],
        error_code=entry["error_code"],
        error=entry["error"],
        fault=entry["fault"],
        duration_seconds=entry["duration_us"] / 1e6,
        cold=entry["cold"],
        _url=url,
    )
