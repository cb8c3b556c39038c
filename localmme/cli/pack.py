"""``localmme pack``."""

from __future__ import annotations

import sys
from typing import Any

import click

from emulator.hosting.storage_sizes import SINGLE_MODEL_GIB


@click.command(short_help="Make a model archive of a directory, or look into one.")
@click.argument("path", metavar="DIR|ARCHIVE")
@click.option(
    "-o", "--output", metavar="FILE", help="The archive to write. [default: DIR's name and .tar.gz, in this directory]"
)
@click.option("--list", "list_only", is_flag=True, help="Only list what is in an archive, or would be.")
@click.option("--verify", "verify_only", is_flag=True, help="Only tell whether an archive made elsewhere works.")
@click.option("--no-compression", is_flag=True, help="Store files as they are: fast, and the same bytes everywhere.")
@click.option(
    "--storage",
    metavar="SIZE",
    default=f"{SINGLE_MODEL_GIB}GiB",
    show_default=True,
    help="Size of the volume it has to fit onto.",
)
@click.option("--strict", is_flag=True, help="A warning counts as a failure: for scripts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def pack(path: str, output: str | None, no_compression: bool, **options: Any) -> None:
    """Make a model archive of what is in DIR, or look into one.

    The same files give the same archive. Exits with 1 if what is in it does not work, with 2 if it could not try.
    """
    from localmme.pack.command import run

    sys.exit(run(path, output, compressed=not no_compression, **options))
