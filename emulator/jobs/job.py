"""What training and transform jobs have in common."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import ClassVar, Literal, Protocol, TypeVar

JobKind = Literal["TrainingJobs", "TransformJobs"]  # as in the names of log groups
INTERNAL_ERROR = "InternalServerError: We encountered an internal error. Please try again."  # [reports]
FAILURE_REASON_CHARACTERS = 1024  # [api]
T = TypeVar("T")


class Job(Protocol):
    """A job that is run once."""

    kind: ClassVar[JobKind]

    @property
    def name(self) -> str: ...

    def stop(self) -> None:
        """Begin to stop it. May be called at any time."""

    async def run(self) -> None:
        """Return when it has ended, however it does. If this is cancelled, nothing of it is left."""


async def in_thread(call: Callable[..., T], *arguments: object) -> T:
    """The result of a function that blocks. When this is cancelled, the function is waited for nevertheless."""
    return await to_its_end(asyncio.to_thread(functools.partial(call, *arguments)))


async def to_its_end(work: Awaitable[T]) -> T:
    """The result of what must not be interrupted, such as cleaning up. A cancellation waits for it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
