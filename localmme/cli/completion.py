"""``localmme completion``; a shell completes the names of emulators and the models of a running emulator."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import get_completion_class

from emulator.errors import SetupError
from emulator.state_directory import DEFAULT_URL
from localmme import state_directories

ANSWER_SECONDS = 2.0  # a user who presses Tab waits no longer


def _script(command: click.Command, shell: str) -> str:
    """The script that makes a shell complete localmme's commands. Raises LookupError for an unknown shell."""
    completer = get_completion_class(shell)
    if completer is None:
        raise LookupError(shell)
    return completer(command, {}, "localmme", "_LOCALMME_COMPLETE").source()


@click.command("completion", short_help="Print the script for shell completion.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete localmme: eval "$(localmme completion bash)"."""
    click.echo(_script(context.find_root().command, shell))


def emulator_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of running emulators."""
    return [record.name for record in state_directories.all_living() if record.name.startswith(incomplete)]


def target_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The models of the endpoint that the command line names."""
    from localmme.pages import page

    try:
        state: dict[str, Any] = page(_url(context), "state", ANSWER_SECONDS)
    except (OSError, ValueError, SetupError):
        return []
    endpoint_name = context.params.get("endpoint_name") or "local"
    models = [
        model for each in state["endpoints"] if each["endpoint_name"] == endpoint_name for model in each["models"]
    ]
    return [model["target_model"] for model in models if model["target_model"].startswith(incomplete)]


def _url(context: click.Context) -> str:
    from localmme.background import address_of

    name, url = context.params.get("name"), context.params.get("url")
    if url and url != DEFAULT_URL and not name:
        return str(url).rstrip("/")
    try:
        return address_of(name)
    except SetupError:
        return DEFAULT_URL
