"""Whether calls are traced, by the option and by OpenTelemetry's variables."""

from __future__ import annotations

import pytest

from emulator.errors import SetupError
from localmme import telemetry

NAMED = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("option", "environment", "traced"),
    [
        (None, {}, False),
        (None, NAMED, True),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        (None, {**NAMED, "OTEL_SDK_DISABLED": "True"}, False),
        (None, {**NAMED, "OTEL_TRACES_EXPORTER": "none"}, False),
        (True, {}, True),
        (False, NAMED, False),
    ],
)
def test_the_option_decides_and_without_it_the_variables(
    option: bool | None, environment: dict[str, str], traced: bool
) -> None:
    assert telemetry.traces(option, environment) is traced


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(telemetry, "NEEDED", ("opentelemetry.sdk", "no_such_package.exporter"))
    with pytest.raises(SetupError, match=r"pip install 'localmme\[otel\]'"):
        telemetry.traces(True, {})
    assert telemetry.traces(None, NAMED) is False
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is set, but calls are not traced" in capsys.readouterr().err
