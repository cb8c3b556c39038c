"""The sample dashboard is one that Grafana can import, and asks for metrics and labels that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from emulator.console.prometheus import FAMILIES
from tests.support.grafana_dashboard import dashboard, queries
from tests.support.repository import REPOSITORY

PART = re.compile(r"_(bucket|count|sum)$")
ROWS = ["Traffic", "Hit ratio and cold starts", "Latency", "Memory and disk", "Evictions and failures", "Models"]
EXAMPLES = re.findall(
    r"^\| [^|]+ \| `([^`]*\([^`]*|[^`]* / [^`]*)` \|$", (REPOSITORY / "docs/metrics.md").read_text(), re.M
)
QUERIES = [query for of_panel in queries().values() for query in of_panel] + EXAMPLES


def test_grafana_s_schema_knows_all_of_it() -> None:
    """What Grafana's own types do not know, they would drop; values that they do not know are errors."""
    register_default_plugins()
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard()))) == dashboard()


def test_it_has_a_data_source_of_the_user_s_choice_and_a_row_for_each_subject() -> None:
    panels = dashboard()["panels"]
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == ROWS
    assert [(each["name"], each["type"]) for each in dashboard()["templating"]["list"]] == [
        ("datasource", "datasource"),
        ("endpoint", "query"),
    ]
    used = {json.dumps(value) for value in _values_of(dashboard(), "datasource")}
    assert used == {json.dumps({"type": "prometheus", "uid": "${datasource}"})}
    assert all(panel["description"] for panel in panels if panel["type"] != "row")


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_metrics_and_labels_that_there_are(query: str) -> None:
    asked = [*_asked(promql_parser.parse(query))]
    assert asked
    for name, labels in asked:
        family = FAMILIES[name if name in FAMILIES else PART.sub("", name)]
        assert (name != family.name) == (family.kind == "histogram"), f"{name} is no series of a {family.kind}"
        assert labels <= {*family.labels, *(["le"] if name.endswith("_bucket") else [])}, (name, labels)


def test_the_variable_s_values_are_those_of_a_label() -> None:
    (_, endpoint) = dashboard()["templating"]["list"]
    name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", endpoint["query"]).groups()  # type: ignore[union-attr]
    assert label in FAMILIES[name].labels


def _asked(expression: Any, grouped_by: frozenset[str] = frozenset()) -> Iterator[tuple[str, set[str]]]:
    """Each name in a query, with the labels by which its series are chosen and grouped."""
    if isinstance(expression, promql_parser.MatrixSelector):
        expression = expression.vector_selector
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression.name, {matcher.name for matcher in expression.matchers.matchers} | grouped_by
        return
    if isinstance(expression, promql_parser.AggregateExpr) and expression.modifier is not None:
        grouped_by = grouped_by | frozenset(expression.modifier.labels)
    for part in ("expr", "lhs", "rhs"):
        if hasattr(expression, part):
            yield from _asked(getattr(expression, part), grouped_by)
    for argument in getattr(expression, "args", ()):
        yield from _asked(argument, grouped_by)


def _values_of(document: Any, key: str) -> Iterator[Any]:
    if isinstance(document, dict):
        yield from (value for name, value in document.items() if name == key)
    for each in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from _values_of(each, key)
