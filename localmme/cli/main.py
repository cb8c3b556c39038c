"""The command line: all commands, and how their errors are shown."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from emulator.errors import SetupError
from emulator.printable import printable_lines
from localmme import __version__
from localmme.cli import completion
from localmme.cli.background import logs, ps, stop
from localmme.cli.call import call
from localmme.cli.check import check
from localmme.cli.client import env, invoke, models, open_page, state
from localmme.cli.fault import fault
from localmme.cli.pack import pack
from localmme.cli.serve import serve
from localmme.cli.top import top
from localmme.cli.trace import trace
from localmme.cli.why import why


class Commands(click.Group):
    """Shows an error as one line, and exits with the error's exit code."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except SetupError as error:
            click.echo(f"Error: {printable_lines(str(error))}", err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:  # the reader of a pipe has gone
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="localmme")
def main() -> None:
    """Run SageMaker multi-model endpoints on your own machine."""


# The short help of each must fit into a line of 80 columns: click cuts what does not.
ABOUT_AN_EMULATOR = (invoke, models, state, top, why, open_page, fault, env, ps, stop, logs)
for command in (serve, call, *ABOUT_AN_EMULATOR, pack, completion.command, check, trace):
    main.add_command(command)
