"""Holds a waiter's DescribeEndpoint until the endpoint has settled.

Waiters poll every 30 s, and endpoints here start sooner. SDKs that use botocore mark a waiter's requests by a letter in
the user agent. All other DescribeEndpoint requests are answered at once.
"""

from __future__ import annotations

import asyncio
import re
import time

from emulator.services.sagemaker.control_plane import ControlPlane

WAITER = re.compile(r"(?:^| )m/(?:[^ ]+,)?B(?:,|$| )")  # "m/" and the features in use; B is botocore's for a waiter
SECONDS = 20.0  # [ours] a third of botocore's read time-out
POLL_SECONDS = 0.05
TRANSITIONAL = ("Creating", "Updating", "Deleting")


def is_waiter(user_agent: str) -> bool:
    """Whether a User-Agent is that of a botocore waiter."""
    return WAITER.search(user_agent) is not None


async def settled(control_plane: ControlPlane, name: str) -> None:
    """Wait until an endpoint's status is not transitional, or it is deleted; at most 20 s."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        endpoint = control_plane.endpoints.get(name)
        if endpoint is None or endpoint.status not in TRANSITIONAL:
            return
        await asyncio.sleep(POLL_SECONDS)
