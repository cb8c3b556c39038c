"""Prometheus itself reads the page, has nothing against it, and answers what the sample dashboard asks."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.grafana_dashboard import queries
from tests.support.real_servers import prometheus
from tests.support.real_servers.making import NotProvisioned
from tests.support.waiting import eventually

pytestmark = pytest.mark.real

HANDLER = """
def model_fn(directory):
    return directory
def transform_fn(model, data, content_type, accept):
    return data, "text/plain"
"""
# A panel of what has not happened is empty.
MAY_BE_EMPTY = {"Unloads"}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    directory = tmp_path_factory.mktemp("emulator")
    for name in ("a", "b"):
        archive(directory / "s3" / f"{name}.tar.gz", {"code/inference.py": HANDLER})
    emulator = Emulator("--models", str(directory / "s3"), state=directory / "state")
    yield emulator.wait_in_service()
    emulator.stop()


def test_prometheus_answers_the_dashboard_s_queries(emulator: Emulator, tmp_path: Path) -> None:
    target = emulator.url.removeprefix("http://")
    try:
        with prometheus.scraping(target, tmp_path) as server:
            eventually(lambda: server.query("up == 1"), what="the first scrape")
            for name in ("a.tar.gz", "b.tar.gz", "a.tar.gz"):
                emulator.invoke(name)
            twice = "min(count_over_time(localmme_target_model_invocations_total[1m])) >= 2"
            eventually(lambda: server.query("sum(localmme_invocations_total) == 3"), what="all calls are counted")
            eventually(lambda: server.query(twice), what="two scrapes of each series")
            for panel, asked in queries().items():
                for query in asked:
                    assert server.query(query) or panel in MAY_BE_EMPTY, (panel, query)
            ((labels, calls),) = server.query("localmme_target_model_invocations_total{target_model='a.tar.gz'}")
            assert (calls, labels["endpoint_name"], labels["instance"]) == (2, "local", target)
    except NotProvisioned as reason:
        pytest.skip(str(reason))


def test_promtool_has_nothing_against_the_page(emulator: Emulator) -> None:
    with urllib.request.urlopen(f"{emulator.url}/_localmme/metrics") as page:
        text = page.read()
    try:
        assert prometheus.complaints(text) == ""
    except NotProvisioned as reason:
        pytest.skip(str(reason))
