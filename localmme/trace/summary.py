"""What a recording shows: how often models were there, how long calls took, what was evicted and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypedDict

from emulator.entries import CallEntry, EventEntry
from emulator.observers.cloudwatch_metrics import StatisticSet, percentile
from emulator.recordings import Line, RecordedEndpoint
from emulator.what_if import HitRatioCurve, ModelCall, VariantMemory, WhatIfVariant

COUNTED_TOGETHER = 1_000
NO_WAIT_FOR_MODEL = ("container", "wait for container")  # steps of calls whose model was there


class Percentiles(TypedDict):
    """Of durations, in microseconds; right to one percent. None = there was none."""

    count: int
    mean_us: int | None
    p50_us: int | None
    p90_us: int | None
    p99_us: int | None


class ModelSummary(TypedDict):
    """A model of one endpoint. Durations are means, None where there was none; sizes are the last that were seen."""

    endpoint_name: str
    target_model: str
    calls: int
    cold_starts: int  # calls that waited for it
    errors: int
    loads: int
    evictions: int  # it was unloaded for another one
    unloads: int  # for whatever reason, evictions too
    failed_loads: int
    archive_bytes: int | None
    unpacked_bytes: int | None
    memory_bytes: int | None  # what it took when it was loaded alone
    download_seconds: float | None
    extract_seconds: float | None
    load_seconds: float | None  # in the container
    service_seconds: float | None  # in the container, of calls that went well


class BusiestMinute(TypedDict):
    time: float  # when it began, in seconds since 1970
    calls: int


class RunSummary(TypedDict):
    """A run of an emulator in the recording."""

    run: str
    localmme_version: str
    started: float


class TraceSummary(TypedDict):
    """A recording, as ``localmme trace --json`` prints it."""

    runs: list[RunSummary]
    torn_files: list[str]  # whose end was not read
    lost_entries: int  # that could not be recorded
    first: float | None  # seconds since 1970; None = there is no entry
    last: float | None
    duration_seconds: float
    endpoints: list[RecordedEndpoint]
    calls: int
    hit_ratio: float | None  # of the calls of multi-model containers; None = there was none
    cold_starts: int
    warm: Percentiles
    cold: Percentiles
    cold_steps: dict[str, Percentiles]  # what the time of cold calls was spent on
    errors: dict[str, int]  # by code, the most frequent first
    busiest_minute: BusiestMinute | None
    evictions: int
    unload_reasons: dict[str, int]  # the most frequent first
    models: list[ModelSummary]  # the most called first
    what_if: list[WhatIfVariant]  # hit ratios with other amounts of memory, simulated


class Times:
    """Durations in bounded memory."""

    def __init__(self) -> None:
        self._statistics = StatisticSet()
        self._new: list[float] = []

    def add(self, microseconds: float) -> None:
        self._new.append(microseconds)
        if len(self._new) >= COUNTED_TOGETHER:
            self._count()

    def percentiles(self) -> Percentiles:
        self._count()
        count = self._statistics.count

        def at(percent: float) -> int | None:
            found = percentile([self._statistics], percent) if count else None
            return None if found is None else round(found)

        mean = round(self._statistics.total / count) if count else None
        return {"count": count, "mean_us": mean, "p50_us": at(50), "p90_us": at(90), "p99_us": at(99)}

    def _count(self) -> None:
        self._statistics.add_times(self._new)
        self._new = []


class Mean:
    __slots__ = ("_count", "_total")

    def __init__(self) -> None:
        self._count, self._total = 0, 0.0

    def add(self, value: float) -> None:
        self._count += 1
        self._total += value

    @property
    def value(self) -> float | None:
        return round(self._total / self._count, 6) if self._count else None


@dataclass(slots=True)
class _Model:
    calls: int = 0
    cold_starts: int = 0
    errors: int = 0
    loads: int = 0
    evictions: int = 0
    unloads: int = 0
    failed_loads: int = 0
    archive_bytes: int | None = None
    unpacked_bytes: int | None = None
    memory_bytes: int | None = None
    download: Mean = field(default_factory=Mean)
    extract: Mean = field(default_factory=Mean)
    load: Mean = field(default_factory=Mean)
    service: Mean = field(default_factory=Mean)


class Summary:
    """Takes the lines of recordings, one after the other, and keeps only what it counts."""

    def __init__(self) -> None:
        self.torn_files: list[str] = []
        self._runs: dict[tuple[str, float], RunSummary] = {}
        self._lost = 0
        self._first: float | None = None
        self._last = 0.0
        self._endpoints: dict[str, RecordedEndpoint] = {}
        self._calls = self._hits = self._cold_starts = 0
        self._warm, self._cold = Times(), Times()
        self._cold_steps: defaultdict[str, Times] = defaultdict(Times)
        self._errors: Counter[str] = Counter()
        self._minutes: Counter[int] = Counter()
        self._evictions = 0
        self._unload_reasons: Counter[str] = Counter()
        self._models: defaultdict[tuple[str, str], _Model] = defaultdict(_Model)
        self._watermark = 1.0
        self._base_bytes: dict[tuple[str, str], int] = {}  # by endpoint and variant: what was in use before any load
        self._curves: dict[tuple[str, str], HitRatioCurve] = {}

    def add(self, line: Line) -> None:
        if line["type"] == "call":
            self._add_call(line)
        elif line["type"] == "event":
            self._add_event(line)
        elif line["type"] == "recording":
            key = line["run"], line["started"]
            if key not in self._runs:
                for curve in self._curves.values():
                    curve.empty()
            self._watermark = line["limits"].get("memory_watermark") or 1.0
            self._runs[key] = {"run": key[0], "localmme_version": line["localmme_version"], "started": key[1]}
            self._remember(line["endpoints"])
        elif line["type"] == "endpoint":
            self._remember([line["endpoint"]])
        elif line["type"] == "lost":
            self._lost += line["entries"]

    def result(self) -> TraceSummary:
        told = self._hits + self._cold_starts
        busiest = self._minutes.most_common(1)
        return {
            "runs": list(self._runs.values()),
            "torn_files": self.torn_files,
            "lost_entries": self._lost,
            "first": self._first,
            "last": None if self._first is None else self._last,
            "duration_seconds": 0.0 if self._first is None else round(self._last - self._first, 3),
            "endpoints": list(self._endpoints.values()),
            "calls": self._calls,
            "hit_ratio": self._hits / told if told else None,
            "cold_starts": self._cold_starts,
            "warm": self._warm.percentiles(),
            "cold": self._cold.percentiles(),
            "cold_steps": {name: times.percentiles() for name, times in self._cold_steps.items()},
            "errors": dict(self._errors.most_common()),
            "busiest_minute": {"time": busiest[0][0] * 60.0, "calls": busiest[0][1]} if busiest else None,
            "evictions": self._evictions,
            "unload_reasons": dict(self._unload_reasons.most_common()),
            "models": sorted(map(_model_summary, self._models.items()), key=lambda model: -model["calls"]),
            "what_if": [curve.result() for curve in self._curves.values()],
        }

    def _remember(self, endpoints: Iterable[RecordedEndpoint]) -> None:
        self._endpoints.update((endpoint["endpoint_name"], endpoint) for endpoint in endpoints)

    def _lasted(self, began: float, ended: float) -> None:
        if self._first is None or began < self._first:
            self._first = began
        self._last = max(self._last, ended)

    def _add_call(self, call: CallEntry) -> None:
        self._calls += 1
        began, duration_us, cold = call["time"], call["duration_us"], call["cold"]
        self._lasted(began, began + duration_us / 1e6)
        self._minutes[int(began // 60)] += 1
        model = self._models[call["endpoint_name"], call["target_model"]] if call["target_model"] else _Model()
        model.calls += 1
        if call["error_code"]:
            self._errors[call["error_code"]] += 1
            model.errors += 1
        if cold:
            self._cold_starts += 1
            model.cold_starts += 1
        elif cold is False:
            self._hits += 1
        if cold is not None:
            self._simulate(call, model)
        if call["error_code"]:
            return
        (self._cold if cold else self._warm).add(duration_us)
        for step in call["steps"]:
            name, step_us = step["name"], step["duration_us"]
            if cold:
                self._cold_steps[name].add(step_us)
            if name == "container":
                model.service.add(step_us / 1e6)

    def _simulate(self, call: CallEntry, model: _Model) -> None:
        waited = [step["duration_us"] for step in call["steps"] if step["name"] not in NO_WAIT_FOR_MODEL]
        size = model.unpacked_bytes if model.memory_bytes is None else model.memory_bytes
        curve = self._curve(call["endpoint_name"], call["variant_name"])
        if curve is not None and size is not None and len(waited) < len(call["steps"]):  # a container answered
            curve.add(ModelCall(call["target_model"], not call["cold"], call["time"], sum(waited) / 1e6), size)

    def _curve(self, endpoint_name: str, variant_name: str) -> HitRatioCurve | None:
        key = endpoint_name, variant_name
        if key not in self._curves and endpoint_name in self._endpoints:
            for variant in self._endpoints[endpoint_name]["variants"]:
                if variant["variant_name"] == variant_name:
                    memory = VariantMemory(
                        endpoint_name,
                        variant_name,
                        variant["instance_count"],
                        variant["memory_bytes"],
                        self._watermark,
                        variant["max_loaded_models"],
                        variant["caching"],
                    )
                    self._curves[key] = HitRatioCurve(memory, self._base_bytes.get(key, 0))
        return self._curves.get(key)

    def _add_event(self, event: EventEntry) -> None:
        self._lasted(event["time"], event["time"])
        kind, details = event["kind"], event["details"]
        if kind not in ("model_downloaded", "model_loaded", "model_unloaded", "load_failed"):
            return
        model = self._models[event["endpoint_name"], event["target_model"]]
        if kind == "model_downloaded":
            model.unpacked_bytes = details["size_bytes"]
            model.archive_bytes = details["archive_bytes"]
            model.download.add(details["download_seconds"])
            model.extract.add(details["seconds"] - details["download_seconds"])
        elif kind == "model_loaded":
            model.loads += 1
            model.load.add(details["seconds"])
            variant, before = (event["endpoint_name"], event["variant_name"]), details["used_before_bytes"]
            self._base_bytes[variant] = min(before, self._base_bytes.get(variant, before))
            if details["memory_bytes"] is not None:
                model.memory_bytes = details["memory_bytes"]
        elif kind == "load_failed":
            model.failed_loads += 1
        else:
            model.unloads += 1
            self._unload_reasons[details["reason"]] += 1
            if details["made_room_for"]:
                model.evictions += 1
                self._evictions += 1


def _model_summary(item: tuple[tuple[str, str], _Model]) -> ModelSummary:
    (endpoint_name, target_model), model = item
    return {
        "endpoint_name": endpoint_name,
        "target_model": target_model,
        "calls": model.calls,
        "cold_starts": model.cold_starts,
        "errors": model.errors,
        "loads": model.loads,
        "evictions": model.evictions,
        "unloads": model.unloads,
        "failed_loads": model.failed_loads,
        "archive_bytes": model.archive_bytes,
        "unpacked_bytes": model.unpacked_bytes,
        "memory_bytes": model.memory_bytes,
        "download_seconds": model.download.value,
        "extract_seconds": model.extract.value,
        "load_seconds": model.load.value,
        "service_seconds": model.service.value,
    }
