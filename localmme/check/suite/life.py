"""How a container is started, listens, answers its pings and is stopped."""

from __future__ import annotations

import asyncio
import time

from emulator.containers.docker.configuration import BIND_TO_PORT_LABEL
from emulator.errors import SetupError
from emulator.timeouts import in_time
from localmme.check.calls import Exchange
from localmme.check.container_under_test import NotHealthy
from localmme.check.finding import Finding, failed, passed, skipped, warned
from localmme.check.harness import Harness, TimeLimit

CONNECTIONS = 10  # at once
PINGS = 5
BUSY_SECONDS = 1.5  # of loads and invocations, while it is pinged
BUSY_INVOKERS = 4
PING_PAUSE_SECONDS = 0.05
NOT_OURS = "A container that runs already is neither started nor stopped here: use --image, --command or --handler."


async def starts(harness: Harness) -> Finding:
    if not harness.under_test.is_ours:
        return skipped(NOT_OURS)
    return passed(
        f"Healthy after {harness.started_in:.1f} s; SageMaker waits for {harness.limits.startup_seconds:.3g} s.",
        harness.running.caller.last,
    )


async def bind_to_port(harness: Harness) -> Finding:
    if not harness.under_test.is_ours:
        return skipped(NOT_OURS)
    if harness.under_test.is_process:  # it has had an assigned port from the start
        assigned, port = harness.running.assigned_port, harness.running.caller.port
        if assigned != port:
            return failed(f"SAGEMAKER_BIND_TO_PORT was {assigned}, but it listens on port {port}.")
        return passed(f"It listens on port {port}, as SAGEMAKER_BIND_TO_PORT says.", harness.running.caller.last)
    try:
        await harness.restart(shares_instance=True)  # which the checks after it use as well
        detail = f"It listens on port {harness.running.assigned_port}, as SAGEMAKER_BIND_TO_PORT says."
        return passed(detail, harness.running.caller.last)
    except (NotHealthy, SetupError) as error:
        run = harness.running
        await harness.stop()
        detail = f"With SAGEMAKER_BIND_TO_PORT={run.assigned_port} it does not listen on that port. {error}"
        image = harness.under_test.image
        if image is not None and BIND_TO_PORT_LABEL.partition("=")[0] not in image.labels:
            # Without the label, the platform never assigns it a port.
            return warned(f"{detail} Without the label, it can only be alone on an instance.", run.caller.last)
        return failed(f"{detail} {run.last_words()}", run.caller.last)


async def connect(harness: Harness) -> Finding:
    caller, limit = harness.running.caller, harness.limits.connect_seconds

    async def one() -> float:
        began = time.perf_counter()
        _, writer = await in_time(asyncio.open_connection(caller.host, caller.port), 4 * limit)
        seconds = time.perf_counter() - began
        # Like a caller who goes away, which is to be no trouble either.
        writer.write(b"GET /ping HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % caller.host.encode())
        writer.close()
        return seconds

    results = await asyncio.gather(*(one() for _ in range(CONNECTIONS)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Exception)]
    slowest = max((result for result in results if isinstance(result, float)), default=0.0)
    if refused or slowest > limit:
        how = f"{len(refused)} were not accepted in {4 * limit:.3g} s" if refused else f"one took {slowest:.3f} s"
        return failed(
            f"Of {CONNECTIONS} connections at once {how}; each must be accepted within {limit * 1000:.0f} ms."
        )
    return passed(f"{CONNECTIONS} connections at once, the slowest was accepted in {slowest * 1000:.1f} ms.")


async def ping(harness: Harness) -> Finding:
    slowest: Exchange | None = None
    for _ in range(PINGS):
        answer = await harness.ping()
        if answer.status != 200:
            return failed("A ping must be answered with 200 within 2 s: the container counts as unhealthy.", answer)
        if slowest is None or answer.seconds > slowest.seconds:
            slowest = answer
    assert slowest is not None
    return passed(f"The slowest of {PINGS} took {slowest.seconds * 1000:.1f} ms.", slowest)


async def ping_while_busy(harness: Harness) -> Finding:
    model = await harness.model()
    clock = TimeLimit(BUSY_SECONDS)
    pings: list[Exchange] = []
    counts = {"invocations": 0, "loads": 0}

    async def invoke() -> None:
        while not clock.is_up:
            await harness.invoke(model)
            counts["invocations"] += 1

    async def load() -> None:
        while not clock.is_up:
            other = await asyncio.to_thread(harness.models.copy)
            await harness.load(other)
            await harness.unload(other)
            await asyncio.to_thread(harness.models.remove, other)
            counts["loads"] += 1

    work = asyncio.gather(load(), *(invoke() for _ in range(BUSY_INVOKERS)))
    try:
        while not work.done():
            answer = await harness.ping()
            pings.append(answer)
            if answer.status != 200:
                return failed(
                    f"While it loaded and answered invocations, ping {len(pings)} was not answered with 200 within "
                    "2 s: the container counts as unhealthy.",
                    answer,
                )
            await asyncio.sleep(PING_PAUSE_SECONDS)
        await work
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    slowest = max(pings, key=lambda each: each.seconds)
    return passed(
        f"{len(pings)} pings during {counts['loads']} loads and {counts['invocations']} invocations; the slowest took "
        f"{slowest.seconds * 1000:.1f} ms.",
        slowest,
    )


async def sigterm(harness: Harness) -> Finding:
    if not harness.under_test.is_ours:
        return skipped(NOT_OURS)
    limit = harness.limits.stop_seconds
    await harness.load(await asyncio.to_thread(harness.models.copy))
    run = harness.running
    seconds = await harness.stop(limit)
    ended = await run.ended() or "ended"
    if seconds >= limit:
        return failed(
            f"It had not ended {limit:.3g} s after SIGTERM, and was killed: what it was doing is lost. If it is "
            "started by a shell, use `exec`; and process 1 of a container ignores signals that it does not handle."
        )
    return passed(f"It {ended}, {seconds:.1f} s after SIGTERM.")
