"""One call of InvokeEndpoint, as all rooms see it, and what is measured of it on its way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field

NEW_SESSION = b"NEW_SESSION"  # [api] in the place of a session's id: open one

# A part of the time of an invocation or of a load: its name, the container's name, when it began and when it ended by
# the clock's ``elapsed``. A plain tuple, as each invocation makes one. The names, in the order in which they come:
# "wait for container" (none was healthy), "download", "extract", "make room", "load", "wait" (for a load that began
# before, or for other reasons), "container" (from the request to it until its whole answer).
Step = tuple[str, str, float, float]


class InvocationMeasurements:
    """What was measured of an invocation in its containers. The requests to the containers of a pipeline share it.

    Not a dataclass: each invocation makes one, of which most stays as it is here.
    """

    model_latency_us: int = 0  # microseconds; 0 = no container has answered or failed yet
    load_wait_us: int = 0  # microseconds of waiting for its model
    cache_hit: bool | None = None  # None = it has not come to a container of many models
    broke_off: bool = False  # a streamed answer that began well
    streamed: bool = False  # the answer has begun as a stream
    beside_others: bool = False  # it came to an instance with several containers
    # By the clock's ``elapsed``; 0 = not yet. Of a pipeline, the last container's.
    sent: float = 0.0  # when the request was sent to the container
    first_chunk: float = 0.0  # when the first chunk of a stream had come
    # Who has it; empty = it has not come that far.
    variant_name: str = ""
    instance_id: str = ""
    fault: str = ""  # what a fault did to it, in words
    steps: tuple[Step, ...] = ()  # what its time was spent on, but for what the emulator itself takes


@dataclass(slots=True)
class Trace:
    """The trace that a call belongs to, where calls are traced."""

    parent: Mapping[str, str]  # the caller's headers that name it; empty = it begins here
    headers: bytes = b""  # lines that containers get with the request
    # Of the call's own span, if they are in these lines; else 0.
    trace_id: int = 0
    span_id: int = 0


@dataclass(slots=True)
class Invocation:
    """One call of InvokeEndpoint. Header values are bytes as they came, None where the caller sent none."""

    endpoint_name: str
    body: bytes
    received: float  # when the request had come, by the clock's ``elapsed``
    request_id: str = ""
    target_model: str = ""
    target_variant: str = ""
    target_container_hostname: str = ""
    inference_component: str = ""
    content_type: bytes | None = None
    accept: bytes | None = None
    custom_attributes: bytes | None = None
    session_id: bytes | None = None
    inference_id: bytes | None = None
    measurements: InvocationMeasurements = field(default_factory=InvocationMeasurements)
    operation: str = "invocations"  # as in its path: invocations-response-stream, async-invocations
    trace: Trace | None = None
    chunks: Callable[[], AsyncGenerator[bytes, None]] | None = None  # in place of ``body``: it is sent with no length

    @property
    def names_session(self) -> bool:
        """Whether it belongs to a session that is open, rather than to none or to one that is to be opened."""
        return self.session_id is not None and self.session_id != NEW_SESSION
