"""How far a training job has come: its statuses, times, metrics, and why it failed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["InProgress", "Stopping", "Completed", "Stopped", "Failed"]
ENDED: tuple[Status, ...] = ("Completed", "Stopped", "Failed")


@dataclass
class Transition:
    """A secondary status that a job has, or had. Times are in seconds since 1970."""

    status: str
    message: str
    started: float
    ended: float | None = None


@dataclass(frozen=True)
class MetricValue:
    """The latest value of one of the job's metrics."""

    value: float
    time: float  # seconds since 1970


@dataclass
class Progress:
    """That of one job. It is changed by the job alone."""

    status: Status = "InProgress"
    transitions: list[Transition] = field(default_factory=list)
    failure_reason: str = ""
    training_started: float | None = None  # when its data was begun to be downloaded
    training_ended: float | None = None
    model_artifacts: str = ""  # where the model is stored; empty until then
    metrics: dict[str, MetricValue] = field(default_factory=dict)

    @property
    def secondary_status(self) -> str:
        return self.transitions[-1].status

    @property
    def training_seconds(self) -> int | None:
        """From the start to the end, rounded up; None before the end."""
        if self.training_started is None or self.training_ended is None:
            return None
        return math.ceil(self.training_ended - self.training_started)

    def enter(self, status: str, message: str, now: float) -> None:
        """Change the secondary status, or the message of the one that it has."""
        last = self.transitions[-1] if self.transitions else None
        if last is not None and last.status == status:
            last.message = message
            return
        if last is not None:
            last.ended = now
        self.transitions.append(Transition(status, message, now))

    def end(self, status: Status, secondary_status: str, message: str, now: float) -> None:
        """The job is over."""
        self.status = status
        self.enter(secondary_status, message, now)
        self.transitions[-1].ended = now
        if self.training_started is not None:
            self.training_ended = now
