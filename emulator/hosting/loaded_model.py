"""A model in a container's memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emulator.hosting.pinned_lru import PinnedEntry
from emulator.hosting.storage_volume import StoredModel

if TYPE_CHECKING:
    from emulator.hosting.loaded_models import LoadedModels


@dataclass(eq=False, kw_only=True)
class LoadedModel(PinnedEntry):
    """A model in memory. It is pinned while an invocation uses it, and keeps its files on disk pinned."""

    name: str
    path: str  # where it is invoked
    stored: StoredModel
    memory: LoadedModels  # where it is
    # By the clock's ``elapsed``: when the last of its invocations that have ended did; before that, when it was loaded.
    last_used: float = 0.0
    # Set when the model is to be unloaded as soon as it is idle; done when it is.
    idle: asyncio.Future[None] | None = None
