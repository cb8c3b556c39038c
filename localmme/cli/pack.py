"""``localmme pack``."""

from __future__ import annotations

import signal
import sys
from typing import Any

import click

from emulator.errors import SetupError
from emulator.hosting.storage_sizes import SINGLE_MODEL_GIB


@click.command(short_help="Make archives of models, or verify them.")
@click.argument("sources", metavar="DIR|FILE|URI...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR/",
    help="The archive to write, or the directory for archives. [default: SOURCE's name and .tar.gz, in this directory]",
)
@click.option("--handler", metavar="FILE", help="A handler to put into the archive, as code/inference.py.")
@click.option(
    "--flavor",
    metavar="NAME",
    help="What the model is: xgboost, lightgbm, onnx, joblib, mlflow, huggingface; none: write no handler. "
    "[default: as its files say]",
)
@click.option("--task", metavar="NAME", help="Task of a Hugging Face pipeline. [default: as its files say]")
@click.option("--as-one", is_flag=True, help="Pack a directory that holds many models as one.")
@click.option("--show", is_flag=True, help="Only print the code/inference.py that would be written.")
@click.option(
    "--list", "list_only", is_flag=True, help="Only list the files of an archive, or those that would be packed."
)
@click.option("--verify", "verify_only", is_flag=True, help="Only check whether existing archives work.")
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
def pack(sources: tuple[str, ...], no_compression: bool, **options: Any) -> None:
    """Make a model archive of each source, or list or verify existing archives.

    DIR is a model's directory, FILE a model's file, for which a handler is written: see --show. URI is a model in
    MLflow: models:/NAME/VERSION or runs:/RUN/PATH. The same files give the
    same archive. Exit code 0: all was written, or works; 1: the content of one does not work; 2: localmme could not
    try.
    """
    from localmme.pack.command import Options, run

    # As Ctrl-C does: the unfinished archive is deleted before the process ends.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(run(sources, Options(compressed=not no_compression, **options)))
    except SetupError as error:
        error.exit_code = 2
        raise
