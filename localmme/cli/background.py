"""The commands for emulators in the background: ``ps``, ``stop``, ``logs``."""

from __future__ import annotations

import json

import click

from emulator.printable import printable, without_colors
from localmme.cli.emulator_options import NAMED


@click.command(short_help="List the running emulators.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def ps(as_json: bool) -> None:
    """List the running emulators: their names, addresses and endpoints."""
    from localmme import background

    running = background.listed()
    if as_json:
        click.echo(json.dumps(running, indent=2))
    else:
        background.print_running(running)


@click.command(short_help="Stop an emulator, and wait until it is gone.")
@click.option("--name", **NAMED)
@click.option("--all", "everything", is_flag=True, help="Stop all that localmme ps lists.")
def stop(name: str | None, everything: bool) -> None:
    """Stop an emulator, and wait until it is gone. Without --name: the only one that runs."""
    from localmme import background, state_directories

    if name is not None and everything:
        raise click.UsageError("--name and --all exclude each other.")
    for record in state_directories.all_living() if everything else [background.find(name)]:
        background.stop(record)
        click.echo(f"{record.name} is stopped")


@click.command(short_help="Print what an emulator and its containers wrote.")
@click.argument("container", required=False)
@click.option("-f", "--follow", is_flag=True, help="Print new lines as they come, until the emulator ends.")
@click.option("--name", **NAMED)
@click.option("--endpoint-name", metavar="NAME", help="Only what this endpoint's containers wrote.")
def logs(container: str | None, follow: bool, name: str | None, endpoint_name: str | None) -> None:
    """Print what an emulator in the background and its containers wrote.

    CONTAINER, the name of a container, an instance, a variant or a job, limits that to its own output. If the emulator
    was not started with --detach, only what its containers wrote is shown.
    """
    from localmme import background, state_directories
    from localmme.cli.log_lines import lines

    directory = state_directories.named(name) if name else background.find(None).directory
    try:
        for line in lines(directory, endpoint_name, container, follow):
            click.echo(printable(without_colors(line)))
    except KeyboardInterrupt:
        return
