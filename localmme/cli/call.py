"""``localmme call``."""

from __future__ import annotations

import os
import sys

import click

from emulator.errors import SetupError
from emulator.model_server.handlers import toolkits


@click.command(short_help="Load a model and invoke it once, without a server.")
@click.option("--model", metavar="DIR|ARCHIVE", required=True, help="The model's files, or an archive of them.")
@click.option("--handler", metavar="FILE[:NAME]", help="The handler. [default: code/inference.py of the model]")
@click.option(
    "--toolkit",
    type=click.Choice(("auto", *toolkits.NAMES)),
    default="auto",
    show_default=True,
    help="AWS's container for which the handler is written; auto: the one that its imports show.",
)
@click.option("--data", metavar="@FILE|TEXT|-", required=True, help="The request's body: a file, a text, or stdin.")
@click.option("--content-type", help="Content type of the request. [default: detected from the data]")
@click.option("--accept", help="Content type that the answer should have.")
@click.option("--output", metavar="FILE", help="Write the answer's body there instead of to stdout.")
@click.option("--pdb", "debugger", is_flag=True, help="Open the debugger where the handler raises an exception.")
@click.option("--profile", is_flag=True, help="Show what took longest; with pyinstrument if that is installed.")
def call(
    model: str,
    handler: str | None,
    toolkit: str,
    data: str,
    content_type: str | None,
    accept: str | None,
    output: str | None,
    debugger: bool,
    profile: bool,
) -> None:
    """Load a model with its handler and invoke it once, in this process: the quickest way to try a handler.

    The handler finds this shell's environment, and a breakpoint() in it works. Its prints, its traceback, times and
    peak memory go to stderr. Exit code 0: it answered; 1: it failed.
    """
    from localmme.foreground_call import Call, run
    from localmme.request_data import guess_content_type, read_data

    if debugger and data == "-":
        raise SetupError("--pdb reads your commands from standard input: give the data as @FILE or TEXT.")
    body = read_data(data)
    if toolkit != "auto":
        os.environ[toolkits.VARIABLE] = toolkit
    request = Call(model, handler, body, content_type or guess_content_type(data, body), accept)
    sys.exit(run(request, output=output, debugger=debugger, profile=profile))
