"""Lets a waiter's question wait for its answer: waiters ask again after 30 s only, and endpoints here take less.

SDKs that are made from botocore tell that a waiter is asking, by a letter in the user agent. Whoever else asks
DescribeEndpoint is answered at once.
"""

from __future__ import annotations

import asyncio
import re
import time

from emulator.services.sagemaker.control_plane import ControlPlane

WAITER = re.compile(r"(?:^| )m/(?:[^ ]+,)?B(?:,|$| )")  # "m/" and the features in use; B is botocore's for a waiter
SECONDS = 20.0  # [ours] a third of how long botocore reads for an answer
LOOK_SECONDS = 0.05
PASSING = ("Creating", "Updating", "Deleting")


def is_waiter(user_agent: str) -> bool:
    """Whether a User-Agent is that of a waiter."""
    return WAITER.search(user_agent) is not None


async def settled(plane: ControlPlane, name: str) -> None:
    """Return once an endpoint is in none of the statuses that pass, or has gone; after 20 s in any case."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        endpoint = plane.endpoints.get(name)
        if endpoint is None or endpoint.status not in PASSING:
            return
        await asyncio.sleep(LOOK_SECONDS)
