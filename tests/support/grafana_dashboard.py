"""The queries of the sample dashboard, as Grafana would send them."""

from __future__ import annotations

import json
from typing import Any

from tests.support.repository import REPOSITORY

DASHBOARD = REPOSITORY / "samples" / "grafana" / "localmme.json"
# What Grafana puts in the place of variables: all endpoints, and a time that has several scrapes.
VARIABLES = {"$__rate_interval": "1m", "$endpoint": ".*"}


def dashboard() -> Any:
    """The dashboard, parsed."""
    return json.loads(DASHBOARD.read_text("utf-8"))


def queries() -> dict[str, list[str]]:
    """Those of each panel, by its title."""
    return {
        panel["title"]: [_filled_in(target["expr"]) for target in panel["targets"]]
        for panel in dashboard()["panels"]
        if panel["type"] != "row"
    }


def _filled_in(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression
