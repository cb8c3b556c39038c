"""Events: what happened, as one stream, to which the terminal, the counts, the metrics and the logs listen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakSet

from emulator.data_capture import DataCapture
from emulator.invocation import Invocation


@dataclass(frozen=True)
class Origin:
    """What an error or an event is about. Without names below the endpoint's, it is the endpoint itself."""

    endpoint_name: str
    region: str
    variant_name: str = ""
    instance_id: str = ""
    container: str = ""
    # Of a job, which has no endpoint, and whose ``instance_id`` is the rest of its log stream's name.
    job_kind: str = ""  # as in the names of log groups: TrainingJobs
    job_name: str = ""


NOWHERE = Origin("", "")  # of what concerns the emulator as a whole
ONLY_CONTAINER_NAME = "primary"  # what SageMaker calls the container of a model that has only one


class Event:
    """The root of all events."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Ready(Event):
    """The emulator, which was started without an endpoint, takes calls."""


@dataclass(frozen=True, slots=True)
class EndpointCreated(Event):
    """The first event of an endpoint."""

    events: Events  # the endpoint's own: nothing of another endpoint that had, or will have, its name


@dataclass(frozen=True, slots=True)
class EndpointDeleted(Event):
    """An endpoint is gone, and its name is free. Invocations that were given up may still report their end."""


@dataclass(frozen=True, slots=True)
class EndpointStatus(Event):
    """An endpoint changed its status: Creating, InService, Updating, Failed, Deleting."""

    status: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ActionTaken(Event):
    """Somebody has asked for something, by the emulator's page or by a command, and it is done or has begun."""

    action: str  # its name, such as unload-model
    text: str  # what is done, as a sentence without a full stop
    target_model: str = ""


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """Something works, but perhaps not as its user expects."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePulling(Event):
    """An image is being pulled. Fraction 1 = the pull has ended, whether or not it was successful."""

    image: str
    fraction: float


@dataclass(frozen=True, slots=True)
class ContainerStarting(Event):
    """A run of a container begins. ContainerStarted follows, or ContainerStopped, or the endpoint is Failed."""


@dataclass(frozen=True, slots=True)
class ContainerStarted(Event):
    seconds: float  # from the start of its process until it passed the health checks
    memory_limit: str = ""  # how much memory it may use, and who holds it to that; empty if nobody does


@dataclass(frozen=True, slots=True)
class ContainerStopped(Event):
    """A container ended without being stopped: it died, or it was replaced as unhealthy."""

    reason: str


@dataclass(frozen=True, slots=True)
class InstanceLost(Event):
    """An instance is gone, with all that it had in memory and on disk. Invocations that it had have failed."""

    reason: str
    replaced_by: str  # the id of the instance that takes its place


@dataclass(frozen=True, slots=True)
class InstanceReplaced(Event):
    """An instance that takes the place of one that was lost is healthy."""

    lost: str  # the id of that one
    seconds: float  # that its own start took


@dataclass(frozen=True, slots=True)
class LogLine(Event):
    """One line of a container's output."""

    line: str


@dataclass(frozen=True, slots=True)
class ModelDownloaded(Event):
    """An archive was fetched and extracted onto the storage volume."""

    target_model: str
    seconds: float
    size_bytes: int  # unpacked
    download_seconds: float = 0.0  # of ``seconds``: of waiting for the archive's bytes
    archive_bytes: int = 0  # of the archive; 0 = a directory stands for it


@dataclass(frozen=True, slots=True)
class ModelDeleted(Event):
    """A model left the storage volume."""

    target_model: str
    reason: str
    made_room_for: str = ""  # the target model that needs its place; empty = none


@dataclass(frozen=True, slots=True)
class LoadStarted(Event):
    """A model is being loaded: ModelLoaded or LoadFailed follows, unless its container ends."""

    target_model: str


@dataclass(frozen=True, slots=True)
class ModelLoaded(Event):
    target_model: str
    seconds: float  # of the load alone: the container's
    total_seconds: float = 0.0  # from the first call that wanted it: with download, extraction and making room
    used_before_bytes: int = 0  # of the instance's memory
    used_after_bytes: int | None = None  # None = not measured
    memory_bytes: int | None = None  # what it took when it was loaded alone; None = not measured


@dataclass(frozen=True, slots=True)
class LoadRetried(Event):
    """A load that did not succeed is tried again at once."""

    target_model: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelNotReady(Event):
    """An invocation was answered with ModelNotReadyException. The load goes on."""

    target_model: str
    reason: str  # what the load is busy with, in words that follow "it"
    seconds: float  # that the invocation has waited for it


@dataclass(frozen=True, slots=True)
class ModelLost(Event):
    """A container no longer has a model that nobody unloaded: it is loaded again at its next use."""

    target_model: str
    reason: str


@dataclass(frozen=True, slots=True)
class InvocationRetried(Event):
    """Nothing of an invocation has reached the instance that was chosen for it: another one takes it."""

    target_model: str
    instance_id: str  # that was not reached
    reason: str


@dataclass(frozen=True, slots=True)
class ModelUnloaded(Event):
    target_model: str
    reason: str
    seconds: float
    made_room_for: str = ""  # the target model that needs its place; empty = none
    idle_seconds: float | None = None  # since its last invocation; None = it was in use until now
    used_before_bytes: int | None = None  # of the instance's memory; None = not measured
    used_after_bytes: int | None = None
    leaked_bytes: int = 0  # that it left behind; see Footprints.leaked


@dataclass(frozen=True, slots=True)
class LoadFailed(Event):
    target_model: str
    reason: str


@dataclass(frozen=True, slots=True)
class ArchiveChanged(Event):
    """The archive in S3 is no longer the one that is being served."""

    target_model: str
    reloaded: bool


# Not frozen, like the next one: each invocation makes both, and a frozen one takes three times as long to make.
@dataclass(slots=True)
class Invoked(Event):
    """A container answered an invocation, or failed to."""

    target_model: str
    status: int  # of the container's answer; 0 = none
    cache_hit: bool  # the model was in memory already
    load_wait_us: int  # microseconds the invocation waited for its model
    model_latency_us: int  # microseconds between the request to the container and its whole answer


@dataclass(frozen=True, slots=True)
class NotAnswered(Event):
    """A container failed to answer an invocation. It was Invoked as well, which all listeners to that would look at."""

    target_model: str
    reason: str


@dataclass(slots=True)
class InvocationEnded(Event):
    """A variant has answered an InvokeEndpoint as a whole, or refused it; however many containers it went through.

    Times are in microseconds.
    """

    instance_count: int  # the variant's
    error_status: int  # what a failed one counts as: the container's status, or that of the refusal; 0 = it went well
    model_error: bool  # no 2xx from a container
    model_latency_us: int  # in all containers together; 0 = none was reached
    overhead_latency_us: int  # from the request to the answer, without the time in containers
    cache_hit: bool | None  # None = of no container of many models
    load_wait_us: int
    first_chunk_us: int = 0  # of a stream: from the request to its first chunk; 0 = there was none
    first_chunk_model_us: int = 0  # of that, in the container
    mid_stream_error: bool | None = None  # whether a stream that had begun broke off; None = it was no stream
    # Of an instance with several: those that it came to, each with the microseconds in it. The last one has failed if
    # ``model_error``.
    containers: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class CallEnded(Event):
    """A call of SageMaker Runtime has been answered as a whole, or refused. Each has one, whatever came of it."""

    invocation: Invocation  # with what was measured of it; of a call that was refused at once, only its names
    ended: float  # when its answer was complete, by the clock's ``elapsed``
    status: int  # of the answer to the caller
    request_bytes: int  # of its body, which may be forgotten; 0 = it was over the limit
    answer_bytes: int  # of the answer's body; of a stream, 0
    error_code: str = ""
    error: str = ""
    sequence: int = 0  # its number among the entries of the emulator's story, for whom keeps it


@dataclass(frozen=True, slots=True)
class FaultInjected(Event):
    """A fault was injected: see services/runtime/faults.py."""

    fault: str  # its name, such as ThrottlingException
    effect: str  # what it did, in words, such as "answered ThrottlingException"
    left: str  # how often it is still going to be injected, in words
    target_model: str = ""  # of the call


@dataclass(slots=True)
class InvocationCaptured(Event):
    """A variant has answered an InvokeEndpoint that the endpoint's data capture samples.

    Headers are bytes as they came, None where there was none.
    """

    capture: DataCapture
    time: float  # when it was answered, in seconds since 1970
    input: bytes
    input_content_type: bytes | None
    output: bytes
    output_content_type: bytes | None
    custom_attributes: bytes | None  # the caller's
    inference_id: bytes | None


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """What one container of several uses."""

    cpu_seconds: float | None  # of processor time since it was observed before; None = not known
    memory_percent: float  # of the instance's memory


@dataclass(frozen=True, slots=True)
class InstanceObserved(Event):
    """What the containers of an instance use. Happens every ``Limits.observe_seconds``."""

    seconds: float  # since it was observed before
    cpu_seconds: float | None  # of processor time used in between; None = not known
    memory_percent: float
    disk_percent: float
    loaded_models: int | None  # None = it has no container of many models
    in_flight: int = 0  # invocations that it has at this moment
    containers: Mapping[str, ContainerUsage] = field(default_factory=dict)  # by name, if there are several
    # Of all GPUs that containers may use, 100 for each; None = there are none, or they cannot be read.
    gpu_percent: float | None = None
    gpu_memory_percent: float | None = None


@dataclass(frozen=True, slots=True)
class JobStatus(Event):
    """A job has changed its secondary status, or begun the next step of it."""

    status: str  # such as Training, Completed, Failed
    message: str  # what happens now, in SageMaker's words
    reason: str = ""  # why it failed


@dataclass(frozen=True, slots=True)
class JobMetric(Event):
    """A job's algorithm has written a value of one of its metrics."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class MemoryExceeded(Event):
    """An instance's containers use more memory together than it has. Each of them is held to that alone.

    Happens once, until they use less again.
    """

    used_bytes: int
    memory_bytes: int  # the instance's


Listener = Callable[[Any, Origin], None]


class _Found(dict[type[Event], list[Listener]]):
    """Who listens to a kind of events, here and in all streams above: looked for once."""

    def __init__(self, find: Callable[[type[Event]], list[Listener]]) -> None:
        self._find = find

    def __missing__(self, kind: type[Event]) -> list[Listener]:
        self[kind] = self._find(kind)
        return self[kind]


class Events:
    """The stream of one origin. Listeners are called at once, on the event loop."""

    def __init__(self, origin: Origin = NOWHERE, parent: Events | None = None) -> None:
        """Events of this stream are published in ``parent`` as well, and keep their origin."""
        self.origin = origin
        self._parent = parent
        self._within: WeakSet[Events] = WeakSet()
        if parent is not None:
            parent._within.add(self)
        self._to_all: list[Listener] = []
        self._by_kind: dict[type[Event], list[Listener]] = {}
        self._found = _Found(self._find)

    def within(self, **names: str) -> Events:
        """A stream whose events reach this one too, with these names (see Origin) added to their origin."""
        return Events(replace(self.origin, **names), self)

    def subscribe(self, listener: Listener, *kinds: type[Event]) -> None:
        """Call ``listener`` with each event of these kinds; with every event if none is named."""
        for kind in kinds:
            self._by_kind.setdefault(kind, list(self._to_all)).append(listener)
        if not kinds:
            for listeners in (self._to_all, *self._by_kind.values()):
                listeners.append(listener)
        self._forget_found()

    def publish(self, event: Event) -> None:
        for listener in self._found[type(event)]:
            listener(event, self.origin)

    def _find(self, kind: type[Event]) -> list[Listener]:
        here = self._by_kind.get(kind, self._to_all)
        return here + self._parent._find(kind) if self._parent is not None else list(here)

    def _forget_found(self) -> None:
        self._found.clear()
        for stream in self._within:
            stream._forget_found()
