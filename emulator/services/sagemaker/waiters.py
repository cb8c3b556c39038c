"""Holds a waiter's Describe requests until what it waits for has settled.

Waiters poll every 30 s or more, and endpoints and jobs here are sooner done. SDKs that use botocore mark a waiter's
requests by a letter in the user agent. All other requests are answered at once.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.records import JobRecord, TrainingJobRecord, TransformJobRecord

WAITER = re.compile(r"(?:^| )m/(?:[^ ]+,)?B(?:,|$| )")  # "m/" and the features in use; B is botocore's for a waiter
POLL_SECONDS = 0.05


def _endpoint_status(control_plane: ControlPlane, name: str) -> str:
    endpoint = control_plane.endpoints.get(name)
    return endpoint.status if endpoint is not None else ""


def _job_status(kind: type[JobRecord]) -> Callable[[ControlPlane, str], str]:
    def status(control_plane: ControlPlane, name: str) -> str:
        record = control_plane.registry.get(kind, name)
        return record.status if record is not None else ""

    return status


@dataclass(frozen=True)
class Held:
    """How the requests of an operation are held."""

    member: str  # of the request, which names what it is about
    status_of: Callable[[ControlPlane, str], str]  # empty if it does not exist
    transitional: tuple[str, ...]
    seconds: float  # [ours] at most: botocore reads for 60 s


HELD: Mapping[str, Held] = {
    "DescribeEndpoint": Held("EndpointName", _endpoint_status, ("Creating", "Updating", "Deleting"), 20.0),
    # Longer, as these waiters ask once a minute or every two only.
    "DescribeTrainingJob": Held("TrainingJobName", _job_status(TrainingJobRecord), ("InProgress", "Stopping"), 45.0),
    "DescribeTransformJob": Held("TransformJobName", _job_status(TransformJobRecord), ("InProgress", "Stopping"), 45.0),
}


def is_waiter(user_agent: str) -> bool:
    """Whether a User-Agent is that of a botocore waiter."""
    return WAITER.search(user_agent) is not None


async def hold(operation: str, request: Mapping[str, Any], user_agent: str, control_plane: ControlPlane) -> None:
    """If this is a waiter's request, wait until the status that it asks for is not transitional, or time is up."""
    held = HELD.get(operation)
    if held is None or not is_waiter(user_agent):
        return
    deadline = time.monotonic() + held.seconds
    while time.monotonic() < deadline:
        if held.status_of(control_plane, request[held.member]) not in held.transitional:
            return
        await asyncio.sleep(POLL_SECONDS)
