"""``localmme check``."""

from __future__ import annotations

import sys
from typing import Any

import click


@click.command(short_help="Check a container against the contract it has to keep.")
@click.option("--image", metavar="IMAGE", help="Check a Docker image: a name, a digest or an ECR URI.")
@click.option("--command", metavar="COMMAND", help="Check a server that is started by this command.")
@click.option("--handler", metavar="FILE[:NAME]", help="Check a Python handler, in localmme's own server.")
@click.option("--url", metavar="URL", help="Check a container that runs already, and sees this machine's directories.")
@click.option(
    "--model", "models", metavar="ARCHIVE", multiple=True, help="A model archive that it can load. Repeatable."
)
@click.option("--data", metavar="@FILE|TEXT|-", help="A request that the models answer: a file, a text, or stdin.")
@click.option("--content-type", help="Of the request. [default: told from the data]")
@click.option("--accept", help="Content type wanted for the answer.")
@click.option("--env", "environment", metavar="K=V", multiple=True, help="Environment of the container. Repeatable.")
@click.option(
    "--memory", metavar="SIZE", default="512MiB", show_default=True, help="Memory for the container and its models."
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="In which it has to be healthy. [default: 240]",
)
@click.option(
    "--limit", "limits", metavar="NAME=VALUE", multiple=True, help="Change one of the platform's limits. Repeatable."
)
@click.option("--only", metavar="NAME,...", help="Make these checks only.")
@click.option("--fast", is_flag=True, help="Leave out what takes long: a second container, and what fills memory.")
@click.option("--list", "list_only", is_flag=True, help="Say what is checked, and check nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--junit", metavar="FILE", help="Write JUnit XML there as well.")
def check(**options: Any) -> None:
    """Check a container against the contract of multi-model endpoints.

    Exit code 0: no check failed; 1: some did; 2: they could not be made; 128 and a signal's number: it ended them, such
    as 130 after Ctrl-C.
    """
    from localmme.check.command import check

    sys.exit(check(**options))
