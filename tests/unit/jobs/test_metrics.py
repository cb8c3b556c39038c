"""Metrics that are read from an algorithm's lines, by regular expressions of its user."""

from __future__ import annotations

import asyncio

import pytest

from emulator.errors import SetupError
from emulator.jobs import metrics
from emulator.jobs.metrics import MetricReader
from emulator.jobs.training_definition import MetricDefinition


def values_of(regex: str, *lines: str) -> tuple[list[float], list[str]]:
    """The values that are read, and the warnings."""
    values: list[float] = []
    warnings: list[str] = []

    async def read() -> None:
        reader = MetricReader([MetricDefinition("m", regex)], lambda _, value: values.append(value), warnings.append)
        for line in lines:
            reader.add(line)
        await reader.close()
        await reader.abandon()

    asyncio.run(read())
    return values, warnings


@pytest.mark.parametrize(
    ("regex", "line", "values"),
    [
        ("loss=(.*?);", "loss=0.5; loss=2e-3; loss=x;", [0.5, 0.002]),
        (r"acc: ([0-9\.]+)", "epoch 1 acc: 0.75", [0.75]),
        ("loss=(.*)", "loss=nan", []),
        ("loss=(.*)", "loss=inf", []),
        ("loss", "loss", []),
        ("(a)?loss", "loss", []),
    ],
)
def test_the_first_group_of_each_match_is_a_value_if_it_is_a_number(regex: str, line: str, values: list[float]) -> None:
    assert values_of(regex, line) == (values, [])


def test_an_expression_that_takes_too_long_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "MATCH_SECONDS", 0.05)
    values, (warning,) = values_of(r"^(?:(a|aa)+)+\d$", "a" * 10_000 + "!", "a1")
    assert values == []
    assert warning == "Metric m is not read any more: its regular expression takes too long on a line."


def test_lines_that_are_left_at_the_end_hold_it_up_for_some_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the lines takes too long by itself."""
    monkeypatch.setattr(metrics, "CLOSE_SECONDS", 0.05)
    values, (warning,) = values_of("x.*x.*(x).*y|loss=(.*)", *["x" * 100] * 9_000)
    assert values == []
    assert warning == "Reading its metrics takes too long: its last lines may not have been looked at."


def test_a_reader_that_is_abandoned_leaves_no_task_and_begins_none() -> None:
    async def read() -> None:
        reader = MetricReader([MetricDefinition("m", "(.*)")], lambda *_: None, pytest.fail)
        reader.add("1")
        assert len(asyncio.all_tasks()) == 2
        await reader.abandon()
        reader.add("2")
        assert len(asyncio.all_tasks()) == 1
        await reader.abandon()

    asyncio.run(read())


def test_an_invalid_expression_is_refused() -> None:
    with pytest.raises(SetupError, match="is not a regular expression"):
        values_of("(")
