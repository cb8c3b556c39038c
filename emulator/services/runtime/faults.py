"""Faults: calls that fail, wait or break off because somebody wants to see what an application makes of it."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from emulator.aws.arn import iam_arn, sagemaker_arn
from emulator.aws.asgi import ConnectionCut
from emulator.aws.errors import AwsError
from emulator.aws.eventstream import stream_exception
from emulator.errors import SetupError
from emulator.events import Origin
from emulator.hosting.errors import container_failed, model_not_ready
from emulator.hosting.surroundings import Surroundings
from emulator.invocation import Invocation
from emulator.services.runtime.errors import throttled
from emulator.suggestions import did_you_mean

MOST_SECONDS = 3600.0  # [ours] of a Latency


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= MOST_SECONDS


CUT = "ConnectionCut"
LATENCY = "Latency"
SCARCE_MEMORY, SLOW_S3 = "ScarceMemory", "SlowS3"  # of what surrounds instances: no call meets them itself
IN_STREAMS = ("ModelStreamError", "InternalStreamFailure")
# What a fault can be for besides, by its name: those of AWS are the codes of its errors, the others are ours.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "ThrottlingException": ("message",),
    "ModelNotReadyException": ("message",),
    "ServiceUnavailable": ("message",),
    "InternalFailure": ("message",),
    "InternalDependencyException": ("message",),
    "ModelError": ("message", "status"),
    "AccessDeniedException": ("message",),
    "ValidationError": ("message",),
    "ModelStreamError": ("message", "chunks"),
    "InternalStreamFailure": ("message", "chunks"),
    LATENCY: ("seconds", "jitter_seconds"),
    CUT: ("chunks",),
    SCARCE_MEMORY: ("fraction",),
    SLOW_S3: ("seconds", "bytes_per_second"),
}
# Which calls they are for, or which instances.
SCOPE = ("times", "endpoint_name", "target_model")
SCOPES: Mapping[str, tuple[str, ...]] = {SCARCE_MEMORY: ("endpoint_name",), SLOW_S3: ()}
NEEDED = {  # at least one of these
    LATENCY: ("seconds", "jitter_seconds"),
    SCARCE_MEMORY: ("fraction",),
    SLOW_S3: ("seconds", "bytes_per_second"),
}
# Each member's constraint, in words and as a check.
CONSTRAINTS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "times": ("a whole number of calls, 1 or more", lambda value: _is_whole(value) and value >= 1),
    "endpoint_name": ("a string", lambda value: isinstance(value, str)),
    "target_model": ("a string", lambda value: isinstance(value, str)),
    "message": ("a string", lambda value: isinstance(value, str)),
    "status": ("a status from 400 to 599", lambda value: _is_whole(value) and 400 <= value <= 599),
    "seconds": (f"a number of seconds up to {MOST_SECONDS:g}", _is_seconds),
    "jitter_seconds": (f"a number of seconds up to {MOST_SECONDS:g}", _is_seconds),
    "chunks": ("a whole number of chunks, 0 or more", lambda value: _is_whole(value) and value >= 0),
    "fraction": ("a number above 0 and below 1", lambda value: isinstance(value, float) and 0 < value < 1),
    "bytes_per_second": ("a whole number of bytes, 0 or more", lambda value: _is_whole(value) and value >= 0),
}


@dataclass
class Fault:
    """One fault. It is over when it was injected ``times`` times, or when it is cleared."""

    number: int  # by which it is cleared
    fault: str  # its name
    times: int | None = None  # that it is still going to be injected; None = until it is cleared
    endpoint_name: str = ""  # empty = all
    target_model: str = ""  # a pattern, as of file names; empty = all, and calls without one
    message: str = ""  # in place of AWS's own
    status: int = 500  # the container's, of a ModelError
    seconds: float = 0.0
    jitter_seconds: float = 0.0  # at random, up to so many more
    chunks: int = 0  # of a stream, before it breaks off
    fraction: float = 1.0  # of an instance's memory
    bytes_per_second: int = 0  # of a download; 0 = as fast as it comes

    def is_for(self, invocation: Invocation, streamed: bool) -> bool:
        """Whether it is injected into this call."""
        return (
            self.endpoint_name in ("", invocation.endpoint_name)
            and (not self.target_model or fnmatchcase(invocation.target_model, self.target_model))
            and (streamed or self.fault not in IN_STREAMS)
        )

    @property
    def breaks_stream(self) -> bool:
        """Whether it lets a stream begin."""
        return self.fault in IN_STREAMS or (self.fault == CUT and self.chunks > 0)

    def effect(self) -> str:
        """What it does to a call, in words."""
        if self.fault == LATENCY:
            jitter = f" to {self.seconds + self.jitter_seconds:g}" if self.jitter_seconds else ""
            return f"delayed by {self.seconds:g}{jitter} s"
        after = f" after {self.chunks} chunks" if self.chunks else ""
        return f"cut the connection{after}" if self.fault == CUT else f"answered {self.fault}{after}"

    def left(self) -> str:
        """How often it is still injected, in words."""
        return "until it is cleared" if self.times is None else f"{self.times} more" if self.times else "the last one"

    def sentence(self) -> str:
        """What it does to which calls, or to what surrounds instances."""
        if self.fault == SCARCE_MEMORY:
            of = f"endpoint {self.endpoint_name} have" if self.endpoint_name else "all endpoints have"
            return f"{self.fault}: instances of {of} {self.fraction:.0%} of their memory until it is cleared"
        if self.fault == SLOW_S3:
            pace = f"{self.bytes_per_second:,} bytes a second" if self.bytes_per_second else ""
            longer = f"{self.seconds:g} s more" if self.seconds else ""
            return f"{self.fault}: downloads take {' and '.join(filter(None, (longer, pace)))} until it is cleared"
        where = f" of endpoint {self.endpoint_name}" if self.endpoint_name else ""
        model = f" of {self.target_model}" if self.target_model else ""
        which = "all calls" if self.times is None else "the next call" if self.times == 1 else f"{self.times} calls"
        return f"{self.fault}: {which}{model}{where}{' until it is cleared' if self.times is None else ''}"


class Faults:
    """The faults that wait for calls. Each call looks at ``active``, whose emptiness costs it nothing."""

    def __init__(self, surroundings: Surroundings | None = None, generator: random.Random | None = None) -> None:
        """``surroundings`` are those of all instances; ``generator`` is for jitter."""
        self.active: list[Fault] = []
        self._of_surroundings: list[Fault] = []
        self._surroundings = surroundings or Surroundings()
        self._numbers = itertools.count(1)
        self._generator = generator or random.Random()

    def add(self, members: Mapping[str, Any]) -> Fault:
        """A new fault, ``{"fault": NAME, ...}``. Raises SetupError when that is no fault."""
        fault = Fault(next(self._numbers), **_checked(members))
        if fault.fault in SCOPES:
            self._of_surroundings.append(fault)
            self._change_surroundings()
        else:
            self.active.append(fault)
        return fault

    @property
    def all(self) -> list[Fault]:
        """Those that wait for calls, and those of what surrounds instances."""
        return [*self.active, *self._of_surroundings]

    def clear(self, number: int | None = None) -> list[Fault]:
        """Clear one fault, or all, and return them; empty if it is over already."""
        cleared = [fault for fault in self.all if number in (None, fault.number)]
        self.active = [fault for fault in self.active if fault not in cleared]
        self._of_surroundings = [fault for fault in self._of_surroundings if fault not in cleared]
        self._change_surroundings()
        return cleared

    def _change_surroundings(self) -> None:
        """The latest fault of a kind, and for an endpoint, counts."""
        scarce = [fault for fault in self._of_surroundings if fault.fault == SCARCE_MEMORY]
        slow = [fault for fault in self._of_surroundings if fault.fault == SLOW_S3]
        self._surroundings.memory_fractions = {fault.endpoint_name: fault.fraction for fault in scarce}
        self._surroundings.download_seconds = slow[-1].seconds if slow else 0.0
        self._surroundings.download_bytes_per_second = slow[-1].bytes_per_second if slow else 0.0

    def listed(self) -> list[dict[str, Any]]:
        """All, as JSON, without what does not apply to them."""
        return [_as_json(fault) for fault in self.all]

    def take(self, invocation: Invocation, streamed: bool) -> list[Fault]:
        """The faults of a call, in the order of their effects: delays, and at most one that ends it."""
        found = [fault for fault in self.active if fault.is_for(invocation, streamed)]
        delays = [fault for fault in found if fault.fault == LATENCY]
        taken = delays + [fault for fault in found if fault.fault != LATENCY][:1]
        for fault in taken:
            if fault.times is not None:
                fault.times -= 1
        self.active = [fault for fault in self.active if fault.times != 0]
        return taken

    def delay(self, fault: Fault) -> float:
        """The seconds of a Latency, this time."""
        return fault.seconds + self._generator.uniform(0, fault.jitter_seconds)


def error_of(fault: Fault, invocation: Invocation, origin: Origin) -> AwsError:
    """What a fault answers; ``origin`` names the container that a ModelError comes from. Raises ConnectionCut."""
    if fault.fault == CUT:
        raise ConnectionCut("the connection was cut by a fault")
    error = _ERRORS[fault.fault](fault, invocation, origin)
    if fault.message and fault.fault != "ModelError":
        error = AwsError(error.code, error.status, fault.message, **error.fields)
    return error


async def broken(chunks: AsyncIterator[bytes], fault: Fault) -> AsyncIterator[bytes]:
    """The chunks of a stream up to where a fault breaks it off: raises StreamBroken or ConnectionCut there."""
    left = fault.chunks
    if left:
        async for chunk in chunks:
            yield chunk
            left -= 1
            if not left:
                break
    if fault.fault == CUT:
        raise ConnectionCut("the connection was cut by a fault")
    raise StreamBroken(fault)


class StreamBroken(Exception):
    """A fault ends a stream with an exception: ``event`` is the last that the caller gets."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.fault)
        code = {"ErrorCode": "StreamBroken"} if fault.fault == "ModelStreamError" else {}
        self.event = stream_exception(fault.fault, fault.message or "The stream was broken off by a fault.", **code)


def _checked(members: Mapping[str, Any]) -> dict[str, Any]:
    name: Any = members.get("fault")
    if not isinstance(name, str) or name not in OPTIONS:
        advice = did_you_mean(str(name), OPTIONS) or f"there are {', '.join(OPTIONS)}."
        raise SetupError(f"There is no fault {name}: {advice}")
    known = [*SCOPES.get(name, SCOPE), *OPTIONS[name]]
    checked = {member: value for member, value in members.items() if value is not None}
    for member, value in checked.items():
        if member == "fault":
            continue
        if member not in known:
            raise SetupError(f"{name} does not take {member}. It takes: {', '.join(known)}.")
        words, holds = CONSTRAINTS[member]
        if not holds(value):
            raise SetupError(f"{member} of {name} must be {words}, not {value!r}.")
    if name in NEEDED and not any(map(checked.get, NEEDED[name])):
        raise SetupError(f"{name} needs {' or '.join(NEEDED[name])}.")
    return checked


def _as_json(fault: Fault) -> dict[str, Any]:
    applies = ("number", "fault", *SCOPES.get(fault.fault, SCOPE), *OPTIONS[fault.fault])
    return {name: value for name, value in asdict(fault).items() if name in applies}


def _model_error(fault: Fault, _: Invocation, origin: Origin) -> AwsError:
    return container_failed(origin, fault.status, fault.message or "the model failed by a fault")


def _access_denied(_: Fault, invocation: Invocation, origin: Origin) -> AwsError:
    action = "sagemaker:InvokeEndpoint"
    user = iam_arn(origin.region, "user", "localmme")
    resource = sagemaker_arn(origin.region, "endpoint", invocation.endpoint_name)
    return AwsError(
        "AccessDeniedException",
        403,
        f"User: {user} is not authorized to perform: {action} on resource: {resource} because no identity-based policy "
        f"allows the {action} action",
    )


# Messages are those of the API reference's lists of errors, where it has them. [api]
_ERRORS: Mapping[str, Callable[[Fault, Invocation, Origin], AwsError]] = {
    "ThrottlingException": lambda *_: throttled(),
    "ModelNotReadyException": lambda _, invocation, __: model_not_ready(invocation.target_model),
    "ServiceUnavailable": lambda *_: AwsError(
        "ServiceUnavailable", 503, "The service is unavailable. Try your call again."
    ),
    "InternalFailure": lambda *_: AwsError("InternalFailure", 500, "An internal failure occurred."),
    "InternalDependencyException": lambda *_: AwsError(
        "InternalDependencyException",
        530,
        "Your request caused an exception with an internal dependency. Contact customer support.",
    ),
    "ModelError": _model_error,
    "AccessDeniedException": _access_denied,
    "ValidationError": lambda *_: AwsError("ValidationError", 400, "Inspect your request and try again."),
}
