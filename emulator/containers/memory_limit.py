"""Who holds a container to its memory, and what is said when it passes that: the same of images and processes."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.sizes import format_size

KERNEL, WATCH = "the kernel", "localmme"  # who holds containers to their memory
# In which the end of a container is noticed after one of its processes was killed, if it does end.
NOTICE_SECONDS = 0.5


@dataclass(frozen=True)
class MemoryLimit:
    """The memory that a container may use, in bytes, and who kills a process of it when it uses more."""

    memory_bytes: int
    killer: str  # KERNEL or WATCH

    def __str__(self) -> str:
        """For the log, when the container starts."""
        return f"{format_size(self.memory_bytes)}, by {self.killer}"

    def ended(self, how: str) -> str:
        """How a container ended whose main process was killed, in words that follow "it"; ``how`` as the system says
        it."""
        return f"ran out of memory: {self.killer} killed it at {format_size(self.memory_bytes)} ({how})"

    def ended_later(self, how: str) -> str:
        """How a container ended that had lost another process before; ``how`` follows "it"."""
        return f"{how}, after {self.killer} killed a process of it at {format_size(self.memory_bytes)} of memory"

    def continues(self, container: str) -> str:
        """The warning about a container that goes on without the process that was killed."""
        return (
            f"The container {container} needs more than its {format_size(self.memory_bytes)} of memory, so "
            f"{self.killer} killed a process of it. The container itself continues. See what its models take when "
            "they load or are invoked, or set more with --memory or --instance-type."
        )
