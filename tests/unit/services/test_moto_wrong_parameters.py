"""What is wrong with a call that moto would fail at."""

from __future__ import annotations

import pytest

from emulator.services.moto_services.wrong_parameters import misfit


@pytest.mark.parametrize(
    ("operation", "parameters", "told"),
    [
        ("GetMetricData", {}, "MetricDataQueries is missing"),
        ("GetMetricData", {"MetricDataQueries.member.1.Id": "a", "StartTime": "x"}, "StartTime is not a time"),
        ("GetMetricData", {"MetricDataQueries.member.1.Id": "a", "StartTime": "1", "EndTime": "1"}, ""),
        ("DescribeAlarms", {"MaxRecords": "x"}, "MaxRecords is not a whole number"),
    ],
)
def test_what_is_wrong_with_a_query_is_told(operation: str, parameters: dict[str, str], told: str) -> None:
    assert misfit("monitoring", operation, None, parameters) == told


def test_a_time_that_no_calendar_has_is_told() -> None:
    document = {"MetricDataQueries": [], "StartTime": 1e300, "EndTime": 1}
    assert misfit("monitoring", "GetMetricData", document, {}) == "StartTime is not a time"
    assert misfit("monitoring", "GetMetricData", {**document, "StartTime": 1}, {}) == ""
