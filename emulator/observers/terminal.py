"""Shows events to a person: as lines on standard error, and InService as one line on standard output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from emulator.aws.request import PAGES
from emulator.events import (
    ArchiveChanged,
    ContainerStarted,
    ContainerStopped,
    EndpointStatus,
    Events,
    FaultInjected,
    ImagePulling,
    InstanceLost,
    InstanceReplaced,
    InvocationRetried,
    JobStatus,
    LoadFailed,
    LoadRetried,
    LoadStarted,
    LogLine,
    MemoryExceeded,
    ModelDeleted,
    ModelDownloaded,
    ModelLoaded,
    ModelLost,
    ModelNotReady,
    ModelUnloaded,
    NotAnswered,
    Origin,
    Ready,
    Warned,
)
from emulator.observers.event_entries import for_model, load_times, unload_causes
from emulator.observers.health_polls import is_health_poll
from emulator.printable import printable, printable_lines, without_colors
from emulator.sizes import format_size
from emulator.state_directory import DEFAULT_URL

DIM, YELLOW, RED, RESET = "\x1b[2m", "\x1b[33m", "\x1b[31m", "\x1b[0m"


PATIENCE_SECONDS = 1.0  # progress is shown only of what takes longer


class VariantSize(NamedTuple):
    """The numbers of a variant's instances and containers."""

    instances: int
    containers: int  # of each instance


class TerminalLog:
    """Writes a line for each event that is of interest to a person."""

    def __init__(
        self,
        url: str,
        at_start: Mapping[str, Sequence[VariantSize]],
        again: bool = False,
        show_polls: bool = False,
    ) -> None:
        """``at_start`` has, by name, the variants of the endpoints that the emulator is started with.

        ``again``: the emulator continues when they fail. ``show_polls``: what containers write of health polls is shown
        like everything else, and not only counted.
        """
        self._url, self._again = url, again
        self._which = "" if url == DEFAULT_URL else f" --url {url}"
        self._has_said_next = False
        self._names = ShortNames(at_start)
        self._started = time.perf_counter()
        self._color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        self._progress = Progress()
        self._polls: Counter[Origin] | None = None if show_polls else Counter()  # lines of each container's run
        self._since: dict[str, float] = {}

    def listen_to(self, events: Events) -> None:
        events.subscribe(self._ready, Ready)
        events.subscribe(self._endpoint_status, EndpointStatus)
        events.subscribe(self._warned, Warned)
        events.subscribe(self._image_pulling, ImagePulling)
        events.subscribe(self._container_started, ContainerStarted)
        events.subscribe(self._container_stopped, ContainerStopped)
        events.subscribe(self._instance_lost, InstanceLost)
        events.subscribe(self._instance_replaced, InstanceReplaced)
        events.subscribe(self._log_line, LogLine)
        events.subscribe(self._job_status, JobStatus)
        events.subscribe(self._memory_exceeded, MemoryExceeded)
        events.subscribe(self._fault_injected, FaultInjected)
        events.subscribe(self._model_downloaded, ModelDownloaded)
        events.subscribe(self._model_deleted, ModelDeleted)
        events.subscribe(self._load_started, LoadStarted)
        events.subscribe(self._model_loaded, ModelLoaded)
        events.subscribe(self._load_retried, LoadRetried)
        events.subscribe(self._load_failed, LoadFailed)
        events.subscribe(self._model_not_ready, ModelNotReady)
        events.subscribe(self._model_lost, ModelLost)
        events.subscribe(self._model_unloaded, ModelUnloaded)
        events.subscribe(self._archive_changed, ArchiveChanged)
        events.subscribe(self._not_answered, NotAnswered)
        events.subscribe(self._invocation_retried, InvocationRetried)

    # The emulator and its endpoints

    def _ready(self, _: Ready, __: Origin) -> None:
        self._announce(f"localmme is ready at {self._url}", self._started)
        self._say_what_to_do_next("Create endpoints through the API")

    def _warned(self, event: Warned, _: Origin) -> None:
        self._write(f"warning    {event.text}", YELLOW)

    def _endpoint_status(self, event: EndpointStatus, origin: Origin) -> None:
        endpoint_name = origin.endpoint_name
        name = f"Endpoint {endpoint_name}"
        if event.status in ("Creating", "Updating"):
            # The time of one that it is started with counts from the start of the emulator.
            self._since[name] = time.perf_counter() if self._names.was_created(endpoint_name) else self._started
            self._progress.begin(f"{name} is {event.status}")
            return
        for status in ("Creating", "Updating"):
            self._progress.end(f"{name} is {status}")
        if event.status == "Deleting":
            self._progress.end_all()
            self._count_polls(lambda of: of.endpoint_name == endpoint_name)
        if event.status == "InService":
            self._announce(f"{name} is InService at {self._url}", self._since[name])
            self._say_what_to_do_next(f"localmme models{self._which} lists what can be invoked")
        emulator_continues = self._again or self._names.was_created(endpoint_name)
        if event.reason and (event.status != "Failed" or emulator_continues):
            # Otherwise the failure ends the emulator, whose last line gives the reason.
            outcome = "is Failed" if event.status == "Failed" else "stays as it was"
            self._write(f"{name} {outcome}: {event.reason}", RED)

    # Containers and instances

    def _image_pulling(self, event: ImagePulling, _: Origin) -> None:
        text = f"Pulling {event.image}"
        if event.fraction < 1:
            self._progress.begin(text)
            self._progress.update(text, f"{event.fraction:.0%}")
        else:
            self._progress.end(text)

    def _container_started(self, event: ContainerStarted, origin: Origin) -> None:
        memory = f"; its memory is limited to {event.memory_limit}" if event.memory_limit else ""
        self._write(f"container  {origin.container}{self._on(origin)} is healthy ({event.seconds:.1f} s){memory}")

    def _container_stopped(self, event: ContainerStopped, origin: Origin) -> None:
        self._progress.end_all()
        self._count_polls(lambda of: of == origin)
        self._write(f"container  {origin.container}{self._on(origin)} is replaced: {event.reason}", RED)

    def _instance_lost(self, event: InstanceLost, origin: Origin) -> None:
        which = self._names.instance(origin) or origin.instance_id
        self._write(f"instance   {which} is lost, and {event.replaced_by} takes its place: {event.reason}", RED)

    def _instance_replaced(self, event: InstanceReplaced, origin: Origin) -> None:
        which = self._names.instance(origin) or origin.instance_id
        self._write(f"instance   {which} is healthy, in the place of {event.lost} ({event.seconds:.1f} s)")

    def _log_line(self, event: LogLine, origin: Origin) -> None:
        if self._polls is not None and is_health_poll(event.line):
            self._polls[origin] += 1
            if self._polls[origin] > 1:
                return
        container = self._names.container(origin)
        self._write((f"  {container} | " if container else "  | ") + printable(without_colors(event.line)), DIM)

    def _count_polls(self, which: Callable[[Origin], bool]) -> None:
        """Say how many lines about health polls were not shown of these containers, which have ended."""
        for origin in list(filter(which, self._polls or ())):
            assert self._polls is not None
            not_shown = self._polls.pop(origin) - 1
            if not_shown:
                name = f"{origin.container}{self._on(origin)}"
                self._write(
                    f"container  {name} wrote {not_shown} more lines about health polls (serve --show-polls)", DIM
                )

    def _job_status(self, event: JobStatus, origin: Origin) -> None:
        reason = f": {event.reason}" if event.reason else ""
        self._write(f"job        {origin.job_name} is {event.status}: {event.message}{reason}", RED if reason else "")

    def _fault_injected(self, event: FaultInjected, origin: Origin) -> None:
        what = event.target_model or origin.endpoint_name
        self._write(f"fault      {what}{self._on(origin)}: {event.effect} ({event.left})", YELLOW)

    def _memory_exceeded(self, event: MemoryExceeded, origin: Origin) -> None:
        used, has = format_size(event.used_bytes), format_size(event.memory_bytes)
        self._write(
            f"memory     {self._names.instance(origin) or 'the instance'} has {has}, and its containers use {used}: on "
            "SageMaker one of them would be killed. See what they keep between calls, or set more with --memory or "
            "--instance-type",
            YELLOW,
        )

    # Models

    def _model_downloaded(self, event: ModelDownloaded, origin: Origin) -> None:
        size = format_size(event.size_bytes)
        self._write(f"downloaded {event.target_model}{self._on(origin)} ({size}, {event.seconds * 1000:.0f} ms)")

    def _model_deleted(self, event: ModelDeleted, origin: Origin) -> None:
        model = f"{event.target_model} from the storage volume{self._on(origin)}"
        self._write(f"deleted    {model}{for_model(event.made_room_for)} ({event.reason})")

    def _load_started(self, event: LoadStarted, origin: Origin) -> None:
        self._progress.begin(f"Loading {event.target_model}{self._on(origin)}")

    def _model_loaded(self, event: ModelLoaded, origin: Origin) -> None:
        model = f"{event.target_model}{self._on(origin)}"
        self._progress.end(f"Loading {model}")
        self._write(f"loaded     {model} ({load_times(event)})")

    def _load_retried(self, event: LoadRetried, origin: Origin) -> None:
        self._write(f"retried    {event.target_model}{self._on(origin)}: {event.reason}", YELLOW)

    def _load_failed(self, event: LoadFailed, origin: Origin) -> None:
        model = f"{event.target_model}{self._on(origin)}"
        self._progress.end(f"Loading {model}")
        self._write(f"failed     {model}: {event.reason}", RED)

    def _model_unloaded(self, event: ModelUnloaded, origin: Origin) -> None:
        model = f"{event.target_model}{self._on(origin)}"
        line = f"unloaded   {model}{for_model(event.made_room_for)} ({unload_causes(event)})"
        self._write(line, YELLOW if event.leaked_bytes else "")

    def _model_not_ready(self, event: ModelNotReady, origin: Origin) -> None:
        model = f"{event.target_model}{self._on(origin)}"
        self._write(f"not ready  {model} for a call, after {event.seconds:.1f} s: it {event.reason}", YELLOW)

    def _model_lost(self, event: ModelLost, origin: Origin) -> None:
        self._write(f"lost       {event.target_model}{self._on(origin)}: {event.reason}", YELLOW)

    def _archive_changed(self, event: ArchiveChanged, _: Origin) -> None:
        advice = (
            "it is loaded anew"
            if event.reloaded
            else "as on SageMaker, the version first loaded is served on; use a new name, or serve --reload"
        )
        self._write(f"changed    {event.target_model} in S3: {advice}", YELLOW)

    def _not_answered(self, event: NotAnswered, origin: Origin) -> None:
        failed = event.target_model or origin.container
        self._write(f"failed     {failed}{self._on(origin)}: {event.reason}", RED)

    def _invocation_retried(self, event: InvocationRetried, origin: Origin) -> None:
        call = f"a call of {event.target_model}" if event.target_model else "a call"
        self._write(f"retried    {call} on another instance than {event.instance_id}: {event.reason}", YELLOW)

    # Lines of text

    def _on(self, origin: Origin) -> str:
        instance = self._names.instance(origin)
        return f" on {instance}" if instance else ""

    def _say_what_to_do_next(self, advice: str) -> None:
        """A hint for a person at a terminal, shown once."""
        if self._has_said_next or not sys.stderr.isatty():
            return
        self._has_said_next = True
        self._write(
            f'In another terminal: eval "$(localmme env{self._which})" for boto3 and the AWS CLI. {advice}.', DIM
        )
        self._write(f"What happens, in a browser: localmme open{self._which}, or {self._url}{PAGES}", DIM)

    def _announce(self, text: str, since: float) -> None:
        with contextlib.suppress(OSError, ValueError):
            print(f"{text} ({time.perf_counter() - since:.1f} s)", flush=True)

    def _write(self, line: str, color: str = "") -> None:
        line = f"{time.strftime('%H:%M:%S')} {printable_lines(line)}"
        with contextlib.suppress(OSError, ValueError):  # the reader of the output may have gone; serving continues
            self._progress.make_way()
            sys.stderr.write(f"{color}{line}{RESET}\n" if color and self._color else line + "\n")
            sys.stderr.flush()


class ShortNames:
    """Names for endpoints, variants, instances and containers, where there are several of them."""

    def __init__(self, at_start: Mapping[str, Sequence[VariantSize]]) -> None:
        """See TerminalLog. Of endpoints that are created later, everything is named."""
        self._at_start = frozenset(at_start)
        sizes = [size for variants in at_start.values() for size in variants]
        self._several_endpoints = len(at_start) > 1
        self._several_variants = any(len(variants) > 1 for variants in at_start.values())
        self._several_instances = any(size.instances > 1 for size in sizes)
        self._several_containers = any(size.containers > 1 for size in sizes)

    def instance(self, origin: Origin) -> str:
        """The instance's name; empty if there is only one."""
        created = self.was_created(origin.endpoint_name)
        names = (
            origin.endpoint_name if created or self._several_endpoints else "",
            origin.variant_name if created or self._several_variants else "",
            origin.instance_id if created or self._several_instances else "",
        )
        return "/".join(filter(None, names))

    def container(self, origin: Origin) -> str:
        """The instance's and the container's name; each is empty if there is only one. Of a job, its own."""
        if origin.job_name:
            return origin.job_name
        several = self._several_containers or self.was_created(origin.endpoint_name)
        return "/".join(filter(None, (self.instance(origin), origin.container if several else "")))

    def was_created(self, endpoint_name: str) -> bool:
        """Whether an endpoint was created through the API."""
        return bool(endpoint_name) and endpoint_name not in self._at_start


class Progress:
    """Shows, in a terminal only, what takes more than a second."""

    def __init__(self) -> None:
        self._waits: dict[str, asyncio.TimerHandle] = {}
        self._shown: list[str] = []
        self._how_far: dict[str, str] = {}
        self._status: Any = None

    def begin(self, text: str) -> None:
        """Begin to wait for something, until ``end``."""
        if sys.stderr.isatty() and text not in self._waits:
            self._waits[text] = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._show, text)

    def update(self, text: str, how_far: str) -> None:
        """Show how far it has come."""
        self._how_far[text] = how_far
        if text in self._shown:
            self._update()

    def end(self, text: str) -> None:
        self._how_far.pop(text, None)
        if text in self._waits:
            self._waits.pop(text).cancel()
            self._shown = [other for other in self._shown if other != text]
            self._update()

    def end_all(self) -> None:
        for text in list(self._waits):
            self.end(text)

    def make_way(self) -> None:
        """For a line of text."""
        if self._status is not None:
            sys.stderr.write("\r\x1b[K")

    def _show(self, text: str) -> None:
        self._shown.append(text)
        self._update()

    def _update(self) -> None:
        if not self._shown:
            if self._status is not None:
                self._status.stop()
                self._status = None
            return
        from rich.text import Text

        first, *others = self._shown
        text = " ".join(filter(None, (first, self._how_far.get(first), f"and {len(others)} more" if others else "")))
        if self._status is None:
            from rich.console import Console
            from rich.status import Status

            self._status = Status("", console=Console(stderr=True))
            self._status.start()
        self._status.update(Text(printable(text)))
