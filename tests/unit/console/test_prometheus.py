"""The page ``/_localmme/metrics``: what Prometheus reads is valid, complete and bounded."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from emulator.console.prometheus import FAMILIES, ModelSeries, PrometheusPage, Snapshot
from emulator.events import CallEnded
from emulator.invocation import Invocation
from emulator.observers.model_counts import CountsByEndpoint, ModelCounts
from emulator.observers.totals import InstanceKey, InstanceTotals, Totals
from tests.support.fake_containers import DirectControlPlane, FakeContainers
from tests.support.files import archive
from tests.support.repository import REPOSITORY

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"  # as Prometheus 2.42
HOSTILE = 'a"b\\n\n<img src=x>.tar.gz'
Samples = dict[tuple[str, ...], float]


class Counted:
    """A control plane with one endpoint, E, and what the page says of it."""

    def __init__(self, directory: Path, most_models: int = 2) -> None:
        self.control_plane = DirectControlPlane(directory)
        totals, counts = Totals(), CountsByEndpoint(time.time)
        for listener in (totals, counts):
            listener.listen_to(self.control_plane.events)
        self.page = PrometheusPage(self.control_plane.endpoints, totals, counts, most_models)

    async def create(self) -> None:
        await self.control_plane.call("CreateEndpoint", EndpointName="E", EndpointConfigName="c")
        while await self.control_plane.status("E") != "InService":
            await asyncio.sleep(0.001)

    async def invoke(self, target_model: str) -> None:
        endpoint = self.control_plane.endpoints.get("E")
        assert endpoint is not None
        invocation = Invocation("E", b"?", time.perf_counter(), target_model=target_model)
        await endpoint.variant_for(invocation).invoke(invocation)
        ended = time.perf_counter()
        self.control_plane.events.publish(CallEnded(invocation, ended, 200, 1, 1))

    async def delete(self) -> None:
        await self.control_plane.call("DeleteEndpoint", EndpointName="E")
        while self.control_plane.endpoints.get("E"):
            await asyncio.sleep(0.001)

    async def text(self, accept: str = "") -> str:
        return self.page.text(await self.page.snapshot(), accept)[1].decode()


def samples(text: str) -> Samples:
    """Each sample's value, by its name and the values of its labels in the order of the alphabet."""
    found = (sample for family in parse(text) for sample in family.samples)
    return {(sample.name, *sorted(sample.labels.values())): sample.value for sample in found}


def whole_snapshot() -> Snapshot:
    """Of which each family has a series."""
    key, totals = InstanceKey("e", "v", "i-1"), InstanceTotals()
    totals.calls.update({(200, True): 3, (200, False): 1, (424, False): 1})
    for histogram in (totals.call_times, totals.waits, totals.downloads, totals.loads):
        histogram.add(0.2)
    totals.step_seconds["load"] = 0.1
    totals.unloads["memory_pressure"] = 1
    counts = {HOSTILE: ModelCounts(loads=1, invocations=5, cache_hits=3)}
    memory = {"used_bytes": 10, "budget_bytes": 100, "max_loaded_models": None}
    figures: Any = {
        "healthy": True,
        "in_flight": 1,
        "containers": [{"name": "primary", "restarts": 0}],
        "memory": memory,
        "volume": {"used_bytes": 20, "capacity_bytes": 200},
    }
    models = {"e": (counts, list(counts.items()))}
    return Snapshot({"e": True}, {key: figures}, {key: 3}, {key: totals}, models)


def page(most_models: int = 20) -> PrometheusPage:
    return PrometheusPage((), Totals(), CountsByEndpoint(time.time), most_models)


def test_the_page_shows_what_happened(containers: FakeContainers, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        archive(tmp_path / "s3" / "bucket" / f"{name}.tar.gz", {"weights": "x" * 100})

    async def scenario() -> tuple[Samples, Samples]:
        counted = Counted(tmp_path)
        async with containers.serving():
            await counted.control_plane.configure("c")
            await counted.create()
            for name in "aaabbc":
                await counted.invoke(f"{name}.tar.gz")
            there = samples(await counted.text())
            await counted.delete()
            gone = samples(await counted.text())
            await counted.control_plane.close()
        return there, gone

    there, gone = asyncio.run(scenario())
    instance = "A", "E", "i-1"
    assert {
        ("localmme_endpoint_in_service", "E"): 1,
        ("localmme_invocations_total", "200", *instance): 6,
        ("localmme_warm_invocations_total", *instance): 3,
        ("localmme_cold_invocations_total", *instance): 3,
        ("localmme_invocation_seconds_count", *instance): 6,
        ("localmme_invocation_seconds_bucket", "+Inf", *instance): 6,
        ("localmme_model_downloads_total", *instance): 3,
        ("localmme_model_loads_total", *instance): 3,
        ("localmme_model_load_seconds_count", *instance): 3,
        ("localmme_model_load_failures_total", *instance): 0,
        ("localmme_instance_loaded_models", *instance): 3,
        ("localmme_instance_healthy", *instance): 1,
        ("localmme_instance_in_flight_invocations", *instance): 0,
        ("localmme_instance_memory_budget_bytes", *instance): 4 * 2**30,
        ("localmme_container_restarts_total", *instance, "primary"): 0,
        ("localmme_target_model_invocations_total", "E", "a.tar.gz"): 3,
        ("localmme_target_model_cold_invocations_total", "E", "a.tar.gz"): 1,
        ("localmme_target_model_loads_total", "E", "b.tar.gz"): 1,
        ("localmme_target_model_invocations_total", "E", "other"): 1,
    }.items() <= there.items()
    assert there[("localmme_invocation_seconds_sum", *instance)] > 0
    assert not [sample for sample in gone if "E" in sample]


def test_each_family_is_on_the_page_and_documented() -> None:
    _, text = page().text(whole_snapshot(), "")
    own = {
        line.split()[2]: line.split()[3] for line in text.decode().splitlines() if line.startswith("# TYPE localmme_")
    }
    assert own == {family.name: family.kind for family in FAMILIES.values()}
    documented = (REPOSITORY / "docs" / "metrics.md").read_text()
    for family in FAMILIES.values():
        labels = ", ".join(f"`{label}`" for label in family.labels)
        assert f"| `{family.name}` | {family.kind} | {labels} | {family.help} |" in documented, family.name


@pytest.mark.parametrize(("accept", "parser"), [("", parse), ("text/plain", parse), (OPENMETRICS, parse_openmetrics)])
def test_the_text_is_what_the_scraper_accepts(accept: str, parser: Any) -> None:
    content_type, text = page().text(whole_snapshot(), accept)
    assert content_type.startswith("application/openmetrics-text" if "openmetrics" in accept else "text/plain")
    families = {family.name: family for family in parser(text.decode())}
    assert text.endswith(b"# EOF\n") == ("openmetrics" in accept)
    (name,) = {sample.labels["target_model"] for sample in families["localmme_target_model_loads"].samples}
    assert name == HOSTILE


def test_names_and_units_follow_prometheus_conventions() -> None:
    """Those that ``promtool check metrics`` checks, and the practices for names and labels."""
    for kind, name, text, labels in FAMILIES.values():
        assert re.fullmatch(r"localmme_[a-z][a-z_]*[a-z]", name) and text.endswith(".")
        assert name.endswith("_total") == (kind == "counter"), name
        assert not name.endswith(("_count", "_sum", "_bucket", "_info")) or name == "localmme_build_info"
        assert not re.search(r"milli|micro|_ms|_us\b|minutes|percent|kilo|mega|giga|gauge|counter|histogram", name), (
            name
        )
        assert kind != "histogram" or name.endswith(("_seconds", "_bytes")), name
        assert not {"le", "quantile", "instance", "job", "endpoint"} & set(labels), name
        assert all(re.fullmatch("[a-z_]+", label) for label in labels)


def test_no_series_of_a_model_goes_down_when_others_are_invoked_more() -> None:
    counts = {name: ModelCounts() for name in ("a", "b", "c", "d", "other")}
    series, seen = ModelSeries(counts, 2), dict[str, int]()
    for invoked in ("aaab", "bbbbcc", "ccccc", "ddddddddd", "", "aaaaaaaaaaa", "b"):
        for name in invoked:
            counts[name].invocations += 1
        numbers = {name: each[0] for name, each in series.numbers(list(counts.items())).items()}
        assert len(numbers.keys() - {"other"}) <= 2
        now = {name: number - seen.get(name, 0) for name, number in numbers.items()}
        assert min(now.values(), default=0) >= 0, (invoked, seen, numbers)
        # What is new is somewhere, and only once; that a series is gone takes nothing from the others.
        assert sum(now.values()) == len(invoked), (invoked, seen, numbers)
        seen = numbers


def test_a_model_may_be_called_other() -> None:
    counts = {"other": ModelCounts(invocations=5), "a": ModelCounts(invocations=1)}
    assert {name: each[0] for name, each in ModelSeries(counts, 5).numbers(list(counts.items())).items()} == {
        "a": 1, "other": 5,
    }  # fmt: skip


def test_the_page_of_many_models_and_instances_is_bounded() -> None:
    keys = [InstanceKey("e", "v", f"i-{number}") for number in range(20)]
    counts = {f"m{number}": ModelCounts(invocations=number) for number in range(10_000)}
    whole = whole_snapshot()
    (figures,), (totals,) = whole.figures.values(), whole.totals.values()
    models = {"e": (counts, list(counts.items()))}
    snapshot = Snapshot(
        {"e": True}, dict.fromkeys(keys, figures), dict.fromkeys(keys, 500), dict.fromkeys(keys, totals), models
    )
    _, text = page(20).text(snapshot, "")
    models = {name for name in samples(text.decode()) if name[0] == "localmme_target_model_invocations_total"}
    assert len(models) == 21 and ("localmme_target_model_invocations_total", "e", "m9999") in models
    assert len(text.splitlines()) < 3000
