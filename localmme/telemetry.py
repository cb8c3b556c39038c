"""Whether calls are traced: as ``--otel`` says, or without it as OpenTelemetry's own variables say."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

import click

from emulator.errors import SetupError

ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
INSTALL = "pip install 'localmme[otel]'"


def traces(option: bool | None, environment: Mapping[str, str]) -> bool:
    """Whether calls are traced. ``option`` is that of ``--otel`` and ``--no-otel``; None = neither.

    Raises SetupError if the option says so and OpenTelemetry is not installed. Where only the variables say so, that is
    a warning: they may be meant for other programs.
    """
    named = [name for name in ENDPOINT_VARIABLES if environment.get(name)]
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    off = off or environment.get("OTEL_TRACES_EXPORTER", "") == "none"
    if option is False or (option is None and (off or not named)):
        return False
    if is_installed():
        return True
    if option:
        raise SetupError(f"--otel needs OpenTelemetry: {INSTALL}.")
    click.echo(f"{named[0]} is set, but calls are not traced, which needs OpenTelemetry: {INSTALL}.", err=True)
    return False


def is_installed() -> bool:
    """Whether the extra ``otel`` is."""
    try:
        return all(find_spec(name) is not None for name in NEEDED)
    except ModuleNotFoundError:  # not even the package above
        return False
