"""Reads a container's own metrics, where the model's ContainerMetricsConfig says. [api]

SageMaker publishes them as OpenTelemetry metrics, which PromQL asks for; CloudWatch's own calls, which are emulated
here, do not know them. So they are read, and it is told when there is nothing to publish.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from emulator.containers.http_connection import Answer
from emulator.errors import ContainerError
from emulator.events import Events, Warned
from emulator.hosting.definition import MetricsEndpoint

# A sample of Prometheus' text format: a name, labels if there are any, a value, and its time if it has one.
_SAMPLE = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})?[ \t]+[^ \t]+([ \t]+-?\d+)?[ \t]*")

Ask = Callable[[str], Awaitable[Answer]]  # GET of a path; raises ContainerError


async def scrape(endpoint: MetricsEndpoint, ask: Ask, events: Events) -> None:
    """Read the metrics again and again, until cancelled. A problem is reported once, until it changes."""
    told = ""
    while True:
        try:
            problem = problem_of(await ask(endpoint.path))
        except ContainerError as error:
            problem = str(error)
        if problem and problem != told:
            events.publish(
                Warned(
                    f"The metrics of container {events.origin.container} cannot be read from {endpoint.path}, where "
                    f"its ContainerMetricsConfig says: {problem}. SageMaker would publish none."
                )
            )
        told = problem
        await asyncio.sleep(endpoint.seconds)


def problem_of(answer: Answer) -> str:
    """What is wrong with an answer that should be in Prometheus' text format; empty if nothing is."""
    if answer.status != 200:
        return f"the answer is {answer.status}"
    lines = [line for line in answer.body.split(b"\n") if line.strip() and not line.startswith(b"#")]
    wrong = next((line for line in lines if not _SAMPLE.fullmatch(line.rstrip(b"\r"))), None)
    if wrong is not None:
        return f"{wrong[:80].decode('utf-8', 'replace')!r} is not a sample of Prometheus' text format"
    return "" if lines else "there is no sample in the answer"
