"""``context.metrics``: what a handler counts and measures, logged in Multi Model Server's format."""

from __future__ import annotations

import logging
import socket
import time
from dataclasses import dataclass, field
from typing import Any

_log = logging.getLogger(__name__)
_UNITS = {
    "ms": "Milliseconds",
    "s": "Seconds",
    "percent": "Percent",
    "count": "Count",
    "B": "Bytes",
    "kB": "Kilobytes",
    "MB": "Megabytes",
    "GB": "Gigabytes",
    None: "unit",
}


@dataclass
class _Metric:
    name: str
    unit: str
    dimensions: list[str]
    request_id: str | None
    value: Any = 0

    def __str__(self) -> str:
        origin = f"hostname:{socket.gethostname()},{int(time.time())}"
        if self.request_id:
            origin += f",{self.request_id}"
        return f"{self.name}.{self.unit}:{self.value}|#{','.join(self.dimensions)}|#{origin}"


@dataclass
class Metrics:
    """The metrics of one request, or, if ``request_id`` is None, of the model's load.

    ``idx`` is always 0, as requests are not batched. A dimension is any object whose ``str`` is ``Name:Value``.
    """

    model_name: str
    request_id: str | None
    _metrics: dict[tuple[Any, ...], _Metric] = field(default_factory=dict)

    def add_counter(self, name: str, value: float, idx: int | None = None, dimensions: list[Any] | None = None) -> None:
        """Count up by ``value``."""
        self._metric(name, "count", dimensions).value += value

    def add_time(
        self, name: str, value: float, idx: int | None = None, unit: str = "ms", dimensions: list[Any] | None = None
    ) -> None:
        """Set a time, in ``ms`` or ``s``. Raises ValueError for another unit."""
        self._set(name, value, _one_of(("ms", "s"), unit), dimensions)

    def add_size(
        self, name: str, value: float, idx: int | None = None, unit: str = "MB", dimensions: list[Any] | None = None
    ) -> None:
        """Set a size, in ``B``, ``kB``, ``MB`` or ``GB``. Raises ValueError for another unit."""
        self._set(name, value, _one_of(("B", "kB", "MB", "GB"), unit), dimensions)

    def add_percent(self, name: str, value: float, idx: int | None = None, dimensions: list[Any] | None = None) -> None:
        """Set a percentage."""
        self._set(name, value, "percent", dimensions)

    def add_error(self, name: str, value: str, dimensions: list[Any] | None = None) -> None:
        """Set an error's text."""
        self._set(name, value, "", dimensions, level="Error")

    def add_metric(
        self,
        name: str,
        value: Any,
        idx: int | None = None,
        unit: str | None = None,
        dimensions: list[Any] | None = None,
    ) -> None:
        """Set a value of any unit."""
        self._set(name, value, unit, dimensions)

    def log(self) -> None:
        """Log all metrics, and clear them."""
        for metric in self._metrics.values():
            _log.info("[METRICS]%s", metric)
        self._metrics.clear()

    def _set(self, name: str, value: Any, unit: str | None, dimensions: list[Any] | None, level: str = "Model") -> None:
        self._metric(name, unit, dimensions, level).value = value

    def _metric(self, name: str, unit: str | None, dimensions: list[Any] | None, level: str = "Model") -> _Metric:
        model = [f"ModelName:{self.model_name}"] if level == "Model" else []
        labels = [*map(str, dimensions or []), *model, f"Level:{level}"]
        key = (name, unit, *labels)
        if key not in self._metrics:
            request_id = self.request_id if level == "Model" else None
            self._metrics[key] = _Metric(name, _UNITS.get(unit, str(unit)), labels, request_id)
        return self._metrics[key]


def _one_of(units: tuple[str, ...], unit: str) -> str:
    if unit not in units:
        raise ValueError(f"the unit must be one of {', '.join(units)}, not {unit!r}")
    return unit
