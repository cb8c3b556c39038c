"""IPython's magic ``%localmme``: the commands, for an emulator that belongs to a notebook and ends with its kernel."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
from IPython.core.error import UsageError
from IPython.core.magic import no_var_expand

from emulator.errors import SetupError
from emulator.printable import printable, printable_lines
from localmme import tables
from localmme.exported_variables import Exported
from localmme.options import PYTHON_OPTIONS
from localmme.python_api import Emulator, serve

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

VARIABLE = "localmme_emulator"  # in the notebook
EXTENSION = "_localmme"  # the attribute of the shell that holds the notebook's emulator


class HandlerFailed(Exception):
    """A model's container answered with an error. IPython shows its message, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return printable_lines(str(self), indent="").splitlines()


class ExportedVariables:
    """Sets variables in the environment of this process, and restores them later."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._exported = Exported.to(os.environ, variables)
        path = variables.get("PYTHONPATH", "").split(os.pathsep)
        self._path = [directory for directory in path if directory and directory not in sys.path]
        os.environ.update(variables)
        sys.path += self._path  # PYTHONPATH has no effect on a running process
        self._default_session = getattr(sys.modules.get("boto3"), "DEFAULT_SESSION", None)

    def take_back(self) -> None:
        """Restore the previous values, except of variables that the notebook has changed since."""
        for name, value in self._exported.taken_back(os.environ).items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        sys.path[:] = [directory for directory in sys.path if directory not in self._path]
        if "boto3" in sys.modules:  # a default session created meanwhile has the placeholder credentials
            sys.modules["boto3"].DEFAULT_SESSION = self._default_session  # type: ignore[attr-defined]


class Notebook:
    """The emulator of a notebook, and the commands for it."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._emulator: Emulator | None = None
        self._exported: ExportedVariables | None = None
        self._cell: str | None = None
        self._commands = click.Group("%localmme", help="An emulator that belongs to this notebook.")
        for command in (
            click.Command("serve", callback=self._serve, params=[SERVED_FILE, *PYTHON_OPTIONS], help=SERVE),
            click.Command("invoke", callback=self._invoke, params=REQUEST, help=INVOKE),
            click.Command("models", callback=self._models, help="List the models, where they are and how they did."),
            click.Command("state", callback=self._state, help="Show endpoints, instances and models."),
            click.Command("logs", callback=self._logs, params=[LINES], help="Print the last lines of the log."),
            click.Command("stop", callback=self.stop, help="Stop the emulator, and take its environment back."),
        ):
            self._commands.add_command(command)

    @no_var_expand  # IPython would evaluate the braces of JSON
    def magic(self, line: str, cell: str | None = None) -> Any:
        """Run a SageMaker endpoint on this machine, for this notebook: see %localmme --help.

        $name stands for the notebook's variable of that name. The body of %%localmme invoke MODEL is the cell.
        """
        self._cell = cell
        try:
            words = [Template(word).safe_substitute(self._shell.user_ns) for word in shlex.split(line)]
            with self._commands.make_context("%localmme", words or ["--help"]) as context:
                return self._commands.invoke(context)
        except click.exceptions.Exit:  # it has shown its help
            return None
        except click.NoSuchOption as error:
            raise UsageError(printable(error.format_message())) from None
        except click.ClickException as error:
            raise UsageError(f"{printable(error.format_message())} See %localmme --help.") from None
        except (SetupError, ValueError) as error:
            raise UsageError(printable_lines(str(error))) from None

    def stop(self) -> None:
        """Stop the emulator, if there is one, and restore the environment."""
        if self._exported is not None:
            self._exported.take_back()
            self._exported = None
        if self._emulator is not None:
            self._emulator.stop()

    def _serve(self, **_: Any) -> Emulator:
        context = click.get_current_context()
        arguments = {
            option.keyword: option.python_value(context.params[option.name])
            for option in PYTHON_OPTIONS
            if option.name and context.get_parameter_source(option.name) is click.core.ParameterSource.COMMANDLINE
        }
        if context.params["file"] is not None:
            arguments["file"] = context.params["file"]
        self.stop()  # a cell that is run again restarts the emulator
        if self._emulator is not None and self._emulator.url:
            # Where the clients that the notebook has made look for it.
            arguments.setdefault("port", urlsplit(self._emulator.url).port)
        self._emulator = serve(**arguments)
        self._exported = ExportedVariables(self._emulator.environment())
        self._shell.user_ns[VARIABLE] = self._emulator
        return self._emulator

    def _invoke(
        self, model: str, data: str | None, content_type: str | None, accept: str | None, endpoint_name: str | None
    ) -> Any:
        from botocore.exceptions import ClientError

        from localmme import emulator_client
        from localmme.request_data import guess_content_type, read_data

        if data is None and self._cell is None:
            raise SetupError("Say what to send: --data, or %%localmme invoke MODEL above a cell with the body.")
        text = data if data is not None else str(self._cell).strip()
        body = read_data(text) if data is not None else text.encode()
        request = {"ContentType": content_type or guess_content_type(text, body)}
        if accept:
            request["Accept"] = accept
        if endpoint_name:
            request["EndpointName"] = endpoint_name
        try:
            return _readable(self._running().invoke(model, body, **request))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ModelError":
                raise HandlerFailed(emulator_client.error_text(error)) from None
            raise SetupError(emulator_client.error_text(error)) from None

    def _models(self) -> tables.Shown:
        return tables.Shown("", [tables.models(self._running().models())])

    def _state(self) -> Emulator:
        return self._running()

    def _logs(self, lines: int) -> None:
        print("\n".join(self._running().logs().splitlines()[-lines:]))

    def _running(self) -> Emulator:
        if self._emulator is None:
            raise SetupError("This notebook has no emulator. Start one: %localmme serve --models DIR")
        return self._emulator


SERVE = "Run a multi-model endpoint that belongs to this notebook, on any free port."
INVOKE = "Invoke MODEL (a TargetModel) with --data, or with the text of the cell below %%localmme invoke MODEL."
SERVED_FILE = click.Argument(["file"], required=False, metavar="[FILE]")
REQUEST: list[click.Parameter] = [
    click.Argument(["model"]),
    click.Option(["--data"], metavar="@FILE|TEXT", help="The request's body: a file, or a text."),
    click.Option(["--content-type"], help="Content type of the request. [default: detected from the data]"),
    click.Option(["--accept"], help="Content type that the answer should have."),
    click.Option(["--endpoint-name"], help="The endpoint's name. [default: that of the first one]"),
]
LINES = click.Option(["-n", "--lines"], type=click.IntRange(1), default=20, show_default=True, help="How many.")


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Called by ``%load_ext localmme``."""
    notebook = Notebook(shell)
    setattr(shell, EXTENSION, notebook)
    shell.register_magic_function(notebook.magic, "line_cell", "localmme")  # type: ignore[arg-type]


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Called by ``%unload_ext localmme``: stops the notebook's emulator."""
    getattr(shell, EXTENSION).stop()


def _readable(body: bytes) -> Any:
    """A response's body: JSON decoded, text as str, other bytes unchanged."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body
    try:
        return json.loads(text)
    except ValueError:
        return text
