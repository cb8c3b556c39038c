"""IPython's magic ``%localmme``: the commands, for an emulator that belongs to a notebook and ends with its kernel."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
from IPython.core.error import UsageError
from IPython.core.magic import no_var_expand

from emulator.archives.model_data_url import is_url
from emulator.errors import SetupError
from emulator.model_server.handlers import styles
from emulator.printable import printable, printable_lines
from emulator.services.sagemaker.image import embedded_server
from localmme import tables
from localmme.cli.pack import pack
from localmme.endpoint_options import models_directory
from localmme.notebook import failures
from localmme.notebook.environment import ExportedVariables
from localmme.notebook.handlers import Handlers
from localmme.notebook.variables import Variables
from localmme.options import PYTHON_OPTIONS
from localmme.python_api import Emulator, serve

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

VARIABLE = "localmme_emulator"  # in the notebook
EXTENSION = "_localmme"  # the attribute of the shell that holds the notebook's emulator
TAKE_CELLS = ("handler", "invoke")


class Notebook:
    """The emulator of a notebook, and the commands for it."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._emulator: Emulator | None = None
        self._exported: ExportedVariables | None = None
        self._cell: str | None = None
        self._handlers = Handlers(shell)
        self._reloaded: Path | None = None  # the handler of which the emulator serves each change
        self._commands = click.Group("%localmme", help="An emulator that belongs to this notebook.")
        for command in (
            click.Command("handler", callback=self._handler, params=CELL, help=HANDLER),
            click.Command("serve", callback=self._serve, params=[SERVED_FILE, *PYTHON_OPTIONS], help=SERVE),
            click.Command("invoke", callback=self._invoke, params=REQUEST, help=INVOKE),
            click.Command("models", callback=self._models, help="List the models, where they are and how they did."),
            click.Command("state", callback=self._state, help="Show endpoints, instances and models."),
            click.Command("watch", callback=self._watch, params=[SECONDS], help=WATCH),
            click.Command("logs", callback=self._logs, params=[LINES], help="Print the last lines of the log."),
            click.Command("pack", callback=self._pack, params=pack.params, help=PACK),
            click.Command("stop", callback=self.stop, help="Stop the emulator, and take its environment back."),
        ):
            self._commands.add_command(command)

    @no_var_expand  # IPython would evaluate the braces of JSON
    def magic(self, line: str, cell: str | None = None) -> Any:
        """Run a SageMaker endpoint on this machine, for this notebook: see %localmme --help.

        $name stands for the notebook's variable of that name: its text, or the file of a handler for a function, and of
        a model for a fitted one. The cell below %%localmme handler is a handler, below %%localmme invoke MODEL a body.
        """
        self._cell = cell if cell and not cell.isspace() else None
        self.renew_handler()
        try:
            with self._commands.make_context("%localmme", self._words(line) or ["--help"]) as context:
                return self._commands.invoke(context)
        except click.exceptions.Exit:  # it has shown its help
            return None
        except click.NoSuchOption as error:
            raise UsageError(printable(error.format_message())) from None
        except click.ClickException as error:
            raise UsageError(f"{printable(error.format_message())} See %localmme --help.") from None
        except (SetupError, ValueError) as error:
            raise UsageError(printable_lines(str(error))) from None

    def _words(self, line: str) -> list[str]:
        """The words of a line, with the notebook's variables in them. Raises SetupError."""
        words = shlex.split(line)
        command = next(iter(words), None)
        if self._cell is not None and command not in TAKE_CELLS and command in (None, *self._commands.commands):
            called = " ".join(["%localmme", *words[:1]])
            raise SetupError(
                f"%{called} does not use the cell below it. Run {called} in a cell of its own, with one %. A handler "
                "goes below %%localmme handler, the body of a request below %%localmme invoke MODEL."
            )
        variables = Variables(self._shell.user_ns, self._handlers, words)
        return [Template(word).safe_substitute(variables) for word in words]

    def renew_handler(self, _: Any = None) -> None:
        """Let the emulator serve the notebook's function as it is now. Called after each cell."""
        if self._reloaded is not None:
            try:
                self._handlers.renew(self._reloaded)
            except SetupError as error:
                print(f"The emulator serves the function as it was: {printable_lines(str(error))}", file=sys.stderr)

    def close(self) -> None:
        """Stop the emulator, and remove the files of the notebook's handlers."""
        self.stop()
        self._handlers.discard()

    def stop(self) -> None:
        """Stop the emulator, if there is one, and restore the environment."""
        if self._exported is not None:
            self._exported.take_back()
            self._exported = None
        self._reloaded = None
        if self._emulator is not None:
            self._emulator.stop()

    def _handler(self, file: str | None, forget: bool) -> None:
        if forget and self._cell is None:
            self._handlers.current = None
            return
        if forget or self._cell is None:
            raise SetupError("Write the handler into the cell, below %%localmme handler: model_fn, predict_fn, handle.")
        path = self._handlers.write_cell(self._cell, file)
        if self._emulator is None or not self._emulator.is_running:
            outlook = "Serve it: %localmme serve --models DIR"
        elif path == self._reloaded:
            outlook = "The next call is answered by it."
        else:
            outlook = "The emulator that runs does not use it: run %localmme serve again."
        print(f"Written to {printable(str(path))}. {outlook}")

    def _serve(self, **_: Any) -> Emulator:
        context = click.get_current_context()
        arguments = {
            option.keyword: option.python_value(context.params[option.name])
            for option in PYTHON_OPTIONS
            if option.name and context.get_parameter_source(option.name) is click.core.ParameterSource.COMMANDLINE
        }
        if context.params["file"] is not None:
            arguments["file"] = context.params["file"]
        if (
            self._handlers.current
            and not any(arguments.get(name) for name in WHAT_RUNS)
            and "endpoint" not in arguments
        ):
            arguments["handler"] = str(self._handlers.current)
            print(f"Handler: the cell's, {printable(arguments['handler'])}")
        handler = Path(styles.split(arguments["handler"])[0]).absolute() if arguments.get("handler") else None
        if handler and handler in self._handlers:
            arguments.setdefault("reload", True)
        if self._emulator is not None and self._emulator.is_running:
            _check_files(arguments)
        self.stop()  # a cell that is run again restarts the emulator
        if self._emulator is not None and self._emulator.url:
            # Where the clients that the notebook has made look for it.
            arguments.setdefault("port", urlsplit(self._emulator.url).port)
        self._emulator = serve(**arguments)
        self._reloaded = handler if arguments.get("reload") else None
        self._exported = ExportedVariables(self._emulator.environment())
        self._shell.user_ns[VARIABLE] = self._emulator
        return self._emulator

    def _invoke(
        self, model: str, data: str | None, content_type: str | None, accept: str | None, endpoint_name: str | None
    ) -> Any:
        from botocore.exceptions import ClientError

        from localmme import emulator_client
        from localmme.request_data import guess_content_type, read_data

        if (data is None) == (self._cell is None):
            raise SetupError(
                "Say what to send: --data, or %%localmme invoke MODEL above a cell with the body; not both."
            )
        text = data if data is not None else str(self._cell).strip()
        body = read_data(text) if data is not None else text.encode()
        request = {"ContentType": content_type or guess_content_type(text, body)}
        if accept:
            request["Accept"] = accept
        if endpoint_name:
            request["EndpointName"] = endpoint_name
        emulator = self._running()
        if not emulator.is_running:
            raise SetupError("The emulator has ended. Start it again: %localmme serve --models DIR")
        logged = len(emulator.logs())
        try:
            return _readable(emulator.invoke(model, body, **request))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ModelError":
                raise failures.failure(error, lambda: emulator.logs()[logged:]) from None
            raise SetupError(emulator_client.error_text(error)) from None

    def _models(self) -> tables.Shown:
        return tables.Shown("", [tables.models(self._running().models())])

    def _state(self) -> Emulator:
        return self._running()

    def _watch(self, seconds: float) -> None:
        from localmme.notebook.watch import watch

        emulator = self._running()
        if not hasattr(self._shell, "kernel"):  # IPython in a terminal replaces nothing that it has shown
            raise SetupError(f"That is for notebooks. In another terminal: localmme top --url {emulator.url}")
        watch(emulator.url, seconds)

    def _logs(self, lines: int) -> None:
        print("\n".join(self._running().logs().splitlines()[-lines:]))

    def _pack(self, sources: Sequence[str], no_compression: bool, **options: Any) -> None:
        from localmme.pack.command import Options, run

        if run(sources, Options(compressed=not no_compression, **options)):
            raise SetupError("Not all of it was packed, or works: see above.")

    def _running(self) -> Emulator:
        if self._emulator is None:
            raise SetupError("This notebook has no emulator. Start one: %localmme serve --models DIR")
        return self._emulator


HANDLER = "Make the cell below it the handler. It is written to FILE, or to a file that is removed with the kernel."
CELL: list[click.Parameter] = [
    click.Argument(["file"], required=False, metavar="[FILE]"),
    click.Option(["--forget"], is_flag=True, help="Serve the archives' own handlers again, not the cell's."),
]
PACK = "Make model archives, or verify them. $model is a fitted model of the notebook."
WHAT_RUNS = ("file", "handler", "command", "image")  # one of them says what runs as the container
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
WATCH = "Show models, instances and events, live, until SECONDS (60) have passed or the cell is interrupted."
SECONDS = click.Argument(["seconds"], type=click.FloatRange(0, min_open=True), default=60.0, metavar="[SECONDS]")
LINES = click.Option(["-n", "--lines"], type=click.IntRange(1), default=20, show_default=True, help="How many.")


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Called by ``%load_ext localmme``."""
    notebook = Notebook(shell)
    setattr(shell, EXTENSION, notebook)
    shell.register_magic_function(notebook.magic, "line_cell", "localmme")  # type: ignore[arg-type]
    shell.events.register("post_run_cell", notebook.renew_handler)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Called by ``%unload_ext localmme``: stops the notebook's emulator."""
    notebook = getattr(shell, EXTENSION)
    shell.events.unregister("post_run_cell", notebook.renew_handler)
    notebook.close()


def _check_files(arguments: Mapping[str, Any]) -> None:
    """Before a running emulator is stopped for another: raises SetupError when what that needs is not there."""
    models, file = arguments.get("models"), arguments.get("file")
    if models and not is_url(models):
        models_directory(models)
    if arguments.get("handler"):
        embedded_server(arguments["handler"])
    if file and not Path(file).expanduser().exists():
        raise SetupError(f"There is no file {file}.")


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
