"""The options by which a command finds a running emulator."""

from __future__ import annotations

import functools
import os
import urllib.parse
from typing import Any

import click

from emulator.errors import SetupError
from emulator.state_directory import DEFAULT_URL
from localmme.cli.completion import emulator_names

VARIABLES = ("LOCALMME_URL", "AWS_ENDPOINT_URL")
NAMED: dict[str, Any] = {
    "metavar": "NAME",
    "shell_complete": emulator_names,
    "help": "The emulator's name: see localmme ps.",
}


def of_an_emulator(function: Any) -> Any:
    """The options of every command that talks to an endpoint of a running emulator."""
    named = click.option("--endpoint-name", default="local", show_default=True, help="The endpoint's name.")
    return where_an_emulator_is(named(function))


def where_an_emulator_is(function: Any) -> Any:
    """The options by which a command finds a running emulator."""

    @functools.wraps(function)
    def command(*, name: str | None, url: str, **options: Any) -> None:
        from localmme.background import address_of

        source = click.get_current_context().get_parameter_source("url")
        if name is not None and source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError("--name and --url exclude each other: each says which emulator.")
        if name is not None or source is click.core.ParameterSource.DEFAULT:
            url = address_of(name)
        _check_url(url)
        function(url=url, **options)

    command = click.option("--name", **NAMED)(command)
    return click.option(
        "--url",
        envvar=VARIABLES,
        default=DEFAULT_URL,
        show_default=True,
        help="The emulator's address; also LOCALMME_URL, AWS_ENDPOINT_URL. Default: the only running emulator.",
    )(command)


def _check_url(url: str) -> None:
    """Raises SetupError, which names the option or the variable that has the invalid URL."""
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return
    except ValueError:  # a missing bracket, an invalid port
        pass
    variables = [name for name in VARIABLES if os.environ.get(name) == url]
    source = variables[0] if variables else "--url"
    raise SetupError(f"{source} is {url!r}, which is not a valid address. Write it as in {DEFAULT_URL}.")
