"""``localmme check``."""

from __future__ import annotations

import sys
from typing import Any

import click


@click.command(short_help="Check a container against the contract it has to keep.")
@click.option("--image", metavar="IMAGE", help="Check a Docker image: a name, a digest or an ECR URI.")
@click.option("--command", metavar="COMMAND", help="Check a server that is started by this command.")
@click.option("--handler", metavar="FILE[:NAME]", help="Check a Python handler, in localmme's own server.")
@click.option("--url", metavar="URL", help="Check a running container that sees this machine's directories.")
@click.option(
    "--model", "models", metavar="ARCHIVE", multiple=True, help="A model archive that it can load. Repeatable."
)
@click.option("--data", metavar="@FILE|TEXT|-", help="A request that the models answer: a file, a text, or stdin.")
@click.option("--content-type", help="Content type of the request. [default: detected from the data]")
@click.option("--accept", help="Content type that the answer should have.")
@click.option("--env", "environment", metavar="K=V", multiple=True, help="Environment of the container. Repeatable.")
@click.option("--inherit-env", is_flag=True, help="A handler or a command gets all variables of this shell.")
@click.option(
    "--memory", metavar="SIZE", default="512MiB", show_default=True, help="Memory for the container and its models."
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="Time until it has to be healthy. [default: 240]",
)
@click.option(
    "--limit", "limits", metavar="NAME=VALUE", multiple=True, help="Change one of the platform's limits. Repeatable."
)
@click.option("--only", metavar="NAME,...", help="Make these checks only.")
@click.option(
    "--fast", is_flag=True, help="Leave out slow checks: those that start a second container or fill the memory."
)
@click.option("--list", "list_only", is_flag=True, help="List the checks, and make none.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--junit", metavar="FILE", help="Also write JUnit XML to this file.")
def check(**options: Any) -> None:
    """Check a container against the contract of multi-model endpoints.

    Exit code 0: no check failed; 1: at least one failed; 2: the checks could not be made; 128 plus a signal's number:
    the signal ended them, such as 130 after Ctrl-C.
    """
    from localmme.check.command import check

    sys.exit(check(**options))
