"""The log of serve: when something happened, why, and what it changed."""

from __future__ import annotations

import re

import pytest

from emulator.events import (
    ContainerStopped,
    EndpointStatus,
    Event,
    Events,
    FaultInjected,
    InstanceLost,
    InstanceReplaced,
    InvocationRetried,
    LoadRetried,
    LogLine,
    ModelDeleted,
    ModelLoaded,
    ModelLost,
    ModelNotReady,
    ModelUnloaded,
)
from emulator.observers.health_polls import is_health_poll
from emulator.observers.terminal import TerminalLog, VariantSize

MIB = 2**20
PING = '127.0.0.1 - - [28/Nov/2026 22:50:00] "GET /ping HTTP/1.1" 200 -'
ONE = {"e": [VariantSize(1, 1)]}


class Log:
    """What is written of events."""

    def __init__(self, capsys: pytest.CaptureFixture[str], instances: int = 1, show_polls: bool = False) -> None:
        self._capsys = capsys
        events = Events()
        TerminalLog("http://x", {"e": [VariantSize(instances, 1)]}, show_polls=show_polls).listen_to(events)
        self.endpoint = events.within(endpoint_name="e", region="us-east-1")
        instance = self.endpoint.within(variant_name="A", instance_id="i-1")
        self.instance, self.container = instance, instance.within(container="primary")

    def lines(self) -> list[str]:
        """Without the time, which each has."""
        lines = self._capsys.readouterr().err.splitlines()
        found = [re.fullmatch(r"[0-2]\d:[0-5]\d:[0-6]\d (.*)", line) for line in lines]
        assert all(found), lines
        return [match[1] for match in found if match]


@pytest.mark.parametrize(
    "event, line",
    [
        (
            FaultInjected("ThrottlingException", "answered ThrottlingException", "1 more", "a"),
            "fault      a on i-1: answered ThrottlingException (1 more)",
        ),
        (
            ModelLoaded("a", 0.25, 1.5, 100 * MIB, 150 * MIB),
            "loaded     a on i-1 (250 ms, 1500 ms since it was wanted, memory 100 MiB -> 150 MiB)",
        ),
        (
            ModelLoaded("a", 0.25, 1.5, 100 * MIB, None, 50 * MIB),
            "loaded     a on i-1 (250 ms, 1500 ms since it was wanted, memory 100 MiB and 50 MiB for it)",
        ),
        (
            ModelUnloaded("a", "memory pressure", 0.1, "b", 41.2, 1800 * MIB, 1200 * MIB),
            "unloaded   a on i-1 for b "
            "(memory pressure, least recently used, idle for 41 s, memory 1.8 GiB -> 1.2 GiB)",
        ),
        (ModelUnloaded("a", "its archive has changed", 0.1), "unloaded   a on i-1 (its archive has changed)"),
        (
            ModelUnloaded("a", "memory pressure", 0.1, "b", 0.0, 180 * MIB, 180 * MIB, 50 * MIB),
            "unloaded   a on i-1 for b (memory pressure, least recently used, idle for 0 s, "
            "memory 180 MiB -> 180 MiB, a leak: 50 MiB more are left in use than after its unload before)",
        ),
        (
            ModelDeleted("a", "storage volume full", "b"),
            "deleted    a from the storage volume on i-1 for b (storage volume full)",
        ),
        (
            LoadRetried("a", "container answered 507"),
            "retried    a on i-1: container answered 507",
        ),
        (
            ModelNotReady("a", "is being loaded", 60.0),
            "not ready  a on i-1 for a call, after 60.0 s: it is being loaded",
        ),
        (ModelLost("a", "the container no longer has it"), "lost       a on i-1: the container no longer has it"),
        (
            InvocationRetried("a", "i-2", "its container accepts no connection"),
            "retried    a call of a on another instance than i-2: its container accepts no connection",
        ),
        (InstanceLost("asked for", "i-3"), "instance   i-1 is lost, and i-3 takes its place: asked for"),
        (InstanceReplaced("i-2", 1.25), "instance   i-1 is healthy, in the place of i-2 (1.2 s)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else "",
)
def test_a_line_says_what_happened_and_why(capsys: pytest.CaptureFixture[str], event: Event, line: str) -> None:
    log = Log(capsys, instances=2)
    log.container.publish(event)
    assert log.lines() == [line]


@pytest.mark.parametrize(
    "line",
    [
        PING,
        '127.0.0.1 - - [28/Nov/2026 22:50:00] "GET /models HTTP/1.1" 200 -',
        'INFO:     127.0.0.1:52044 - "GET /ping HTTP/1.1" 200 OK',
        '2026-11-28T22:50:00,123 [INFO ] pool-1-thread-3 ACCESS_LOG - /127.0.0.1:36440 "GET /ping HTTP/1.1" 200 0',
        'ACCESS_LOG - /172.18.0.1:5 "GET /models?limit=100 HTTP/1.1" 200 1',
        '172.18.0.1 - - [28/Nov/2026:22:50:00 +0000] "GET /ping HTTP/1.1" 200 1 "-" "-"',
        '[INFO ] PyProcess W-1 - "GET /ping HTTP/1.1" 200 1.5 ms',
    ],
)
def test_what_servers_write_of_health_polls_is_recognised(line: str) -> None:
    assert is_health_poll(line)


@pytest.mark.parametrize(
    "line",
    [
        '127.0.0.1 - - [28/Nov/2026 22:50:00] "GET /ping HTTP/1.1" 503 -',
        '127.0.0.1 - - [28/Nov/2026 22:50:00] "GET /models/abc HTTP/1.1" 200 -',
        '127.0.0.1 - - [28/Nov/2026 22:50:00] "POST /models HTTP/1.1" 200 -',
        '127.0.0.1 - - [28/Nov/2026 22:50:00] "POST /invocations HTTP/1.1" 200 -',
        '"GET /ping HTTP/1.1" 200 was not what I expected',
        'I got "ping" from "GET /ping HTTP/1.1" 200',
        "pinged with GET /ping",
    ],
)
def test_everything_else_is_none(line: str) -> None:
    assert not is_health_poll(line)


def test_health_polls_are_shown_once_and_counted_when_the_container_ends(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(capsys)
    for _ in range(5):
        log.container.publish(LogLine(PING))
        log.container.publish(LogLine("something else"))
    assert log.lines() == [f"  | {PING}", *(5 * ["  | something else"])]
    log.container.publish(ContainerStopped("it ended with exit code 1"))
    assert log.lines()[0] == "container  primary wrote 4 more lines about health polls (serve --show-polls)"
    for _ in range(3):
        log.container.publish(LogLine(PING))
    log.endpoint.publish(EndpointStatus("Deleting"))
    assert log.lines() == [
        f"  | {PING}",
        "container  primary wrote 2 more lines about health polls (serve --show-polls)",
    ]


def test_each_of_them_is_shown_to_who_wants_that(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(capsys, show_polls=True)
    for _ in range(3):
        log.container.publish(LogLine(PING))
    log.container.publish(ContainerStopped("it ended"))
    assert log.lines() == [*(3 * [f"  | {PING}"]), "container  primary is replaced: it ended"]


def test_further_lines_of_a_message_are_indented(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(capsys)
    log.container.publish(ContainerStopped("no\nreason"))
    assert re.fullmatch(r"\S+ container  primary is replaced: no\n  reason\n", capsys.readouterr().err)
