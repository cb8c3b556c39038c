"""``localmme pack``."""

from __future__ import annotations

import sys
from typing import Any

import click

from emulator.hosting.storage_sizes import SINGLE_MODEL_GIB


@click.command(short_help="Make a model archive of a directory, or verify one.")
@click.argument("path", metavar="DIR|ARCHIVE")
@click.option(
    "-o", "--output", metavar="FILE", help="The archive to write. [default: DIR's name and .tar.gz, in this directory]"
)
@click.option(
    "--list", "list_only", is_flag=True, help="Only list the files of an archive, or those that would be packed."
)
@click.option("--verify", "verify_only", is_flag=True, help="Only check whether an existing archive works.")
@click.option("--no-compression", is_flag=True, help="Store files as they are: fast, and the same bytes everywhere.")
@click.option(
    "--storage",
    metavar="SIZE",
    default=f"{SINGLE_MODEL_GIB}GiB",
    show_default=True,
    help="Size of the volume that the model has to fit onto.",
)
@click.option("--strict", is_flag=True, help="Treat warnings as failures: for scripts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def pack(path: str, output: str | None, no_compression: bool, **options: Any) -> None:
    """Make a model archive of the files in DIR, or list or verify an existing archive.

    The same files give the same archive. Exit code 0: it was written, or works; 1: its content does not work; 2:
    localmme could not try.
    """
    from localmme.pack.command import run

    sys.exit(run(path, output, compressed=not no_compression, **options))
