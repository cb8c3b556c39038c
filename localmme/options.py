"""Every option of ``localmme serve``, once: for the command line, ``localmme.serve``, the notebook and pytest."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

import click

from emulator.errors import SetupError
from emulator.model_server.handlers import toolkits
from emulator.observers.totals import MOST_MODELS
from emulator.recordings import SIZE_BYTES
from emulator.sizes import format_size
from emulator.state_directory import DEFAULT_PORT

RECORD_SIZE = format_size(SIZE_BYTES).replace(" ", "")
DEBUG_PORT = 5678  # at which editors look for debugpy, if nobody says otherwise


class ServeOption(click.Option):
    """An option of ``serve``, as an option of the command line and as an argument in Python."""

    def __init__(
        self,
        *names: str,
        describes_endpoint: bool = False,
        is_path: bool = False,
        for_python: bool = True,
        **attributes: Any,
    ) -> None:
        """``describes_endpoint``: cannot be used with a FILE or --no-endpoint. ``is_path``: it names a file or a
        directory. ``for_python``: ``localmme.serve`` takes it as well."""
        super().__init__(names, **attributes)
        self.describes_endpoint, self.is_path, self.for_python = describes_endpoint, is_path, for_python
        self.turns_off = (self.name or "").startswith("no_")
        self.takes_pairs = self.multiple and "=" in (self.metavar or "")

    @property
    def keyword(self) -> str:
        """The argument of ``localmme.serve``; that of ``--no-cache`` is ``cache``, which is False with it."""
        return (self.name or "").removeprefix("no_")

    def python_value(self, typed: Any) -> Any:
        """A value from a command line as ``localmme.serve`` takes it. Raises SetupError."""
        if self.turns_off:
            return not typed
        if self.takes_pairs:
            return dict(name_and_value(self.opts[0], text) for text in typed)
        return list(typed) if self.multiple else typed

    def words(self, value: Any) -> list[str]:
        """The words of a command line for an argument of ``localmme.serve``; empty for None."""
        flag = self.opts[0]
        if value is None:
            return []
        if self.is_flag:
            if value != self.turns_off:
                return [flag]
            return self.secondary_opts[:1]  # of a pair such as --local-code/--no-local-code
        if isinstance(value, Mapping):
            value = [f"{name}={text}" for name, text in value.items()]
        if not self.multiple:
            value = [value if isinstance(value, (str, int, os.PathLike)) else shlex.join(value)]
        elif isinstance(value, str):
            value = [value]
        return [f"{flag}={each if not self.is_path else os.fspath(each)}" for each in value]


def name_and_value(flag: str, text: str) -> tuple[str, str]:
    """The two parts of ``NAME=VALUE``. Raises SetupError, which names the option ``flag``, for other texts."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SetupError(f"{flag} takes NAME=VALUE, not {text!r}.")
    return name, value


def command_line(values: Mapping[str, Any]) -> list[str]:
    """The command line's options for these arguments of ``localmme.serve``."""
    return [word for option in OPTIONS for word in option.words(values.get(option.keyword))]


# The order is that of the help and of docs/commands.md.
OPTIONS = [
    ServeOption(
        "--models",
        metavar="DIR|S3URL",
        describes_endpoint=True,
        is_path=True,
        help="Folder of model archives: a directory, or s3://BUCKET/PREFIX/.",
    ),
    ServeOption(
        "--unpacked",
        is_flag=True,
        describes_endpoint=True,
        help="Each directory NAME directly below --models stands for the archive NAME.tar.gz (not on SageMaker).",
    ),
    ServeOption(
        "--image",
        metavar="IMAGE",
        describes_endpoint=True,
        help="Docker image to run as the container: a name, a digest or an ECR URI.",
    ),
    ServeOption(
        "--handler",
        metavar="FILE[:NAME]",
        describes_endpoint=True,
        is_path=True,
        help="Python handler for all models. Without it, each archive contains its own (code/inference.py).",
    ),
    ServeOption(
        "--toolkit",
        type=click.Choice(("auto", *toolkits.NAMES)),
        default="auto",
        show_default=True,
        describes_endpoint=True,
        help="AWS's container for which handlers are written; what it does with them is imitated. auto: the one that a "
        "handler's imports show.",
    ),
    ServeOption(
        "--command",
        metavar="COMMAND",
        describes_endpoint=True,
        help="A multi-model server to run instead of localmme's own.",
    ),
    ServeOption(
        "--map-image",
        "map_images",
        metavar="GLOB=IMAGE",
        multiple=True,
        help="What runs in place of images with such names: an image, handler:FILE, command:WORDS, or script[:PYTHON], "
        "which is the code that the SDK's estimators and models send along. Repeatable.",
    ),
    ServeOption("--gpus", metavar="all|N", describes_endpoint=True, help="GPUs for an image's container."),
    ServeOption(
        "--stub",
        metavar="FILE",
        is_path=True,
        help="Answer as a file says, by endpoint, TargetModel and body, without models and containers.",
    ),
    ServeOption("--no-endpoint", is_flag=True, help="Start without an endpoint. Create endpoints through the API."),
    ServeOption(
        "--s3",
        metavar="DIR",
        is_path=True,
        help="Directory that stands for S3: each directory in it is a bucket. [default: --models, if local; with "
        "--no-endpoint ./s3]",
    ),
    ServeOption(
        "--s3-read-through",
        metavar="BUCKET",
        multiple=True,
        help="Read what is not in this bucket's directory from real S3, and keep it there: a name, or a pattern such "
        "as 'sagemaker-*'. Nothing is written to real S3. Repeatable.",
    ),
    ServeOption(
        "--access",
        metavar="FILE",
        is_path=True,
        help="File of users and their permissions, such as access.yaml. [default: everybody may do everything]",
    ),
    ServeOption(
        "--endpoint-name", default="local", show_default=True, describes_endpoint=True, help="The endpoint's name."
    ),
    ServeOption("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    ServeOption(
        "--port",
        default=DEFAULT_PORT,
        show_default=True,
        type=click.IntRange(0, 65535),
        help="Port to listen on; 0 = any free port.",
    ),
    ServeOption(
        "--allow-host",
        "allow_hosts",
        metavar="NAME",
        multiple=True,
        help="Host name by which clients call it, besides localhost and --host; *.NAME = all below NAME. Repeatable.",
    ),
    ServeOption(
        "--allow-origin",
        "allow_origins",
        metavar="ORIGIN",
        multiple=True,
        help="Web pages that may call it, such as http://localhost:3000. Repeatable. [default: none]",
    ),
    ServeOption(
        "--local-code/--no-local-code",
        default=None,
        help="May CreateModel run images, handlers and commands on this machine? [default: yes, unless other "
        "machines can reach --host and there is no --access]",
    ),
    ServeOption(
        "--instance-type",
        metavar="ML.TYPE",
        describes_endpoint=True,
        help="Instance type, which gives each instance's memory and vCPUs.",
    ),
    ServeOption(
        "--instances",
        metavar="N",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        describes_endpoint=True,
        help="Number of instances, each with its own container and memory.",
    ),
    ServeOption(
        "--memory",
        metavar="SIZE",
        describes_endpoint=True,
        help="Memory for the container and its models. [default: the machine's]",
    ),
    ServeOption(
        "--storage",
        metavar="SIZE",
        describes_endpoint=True,
        help="Size of the storage volume. [default: that of the instance type, else 100GiB]",
    ),
    ServeOption(
        "--max-loaded-models",
        metavar="N",
        type=click.IntRange(1),
        describes_endpoint=True,
        help="Never load more models than that.",
    ),
    ServeOption(
        "--workers-per-model",
        metavar="N",
        type=click.IntRange(1),
        describes_endpoint=True,
        help="Worker processes for each model. [default: 1; with --image or --command, as their server decides]",
    ),
    ServeOption(
        "--no-cache",
        is_flag=True,
        describes_endpoint=True,
        help="ModelCacheSetting Disabled: unload each model after its invocation.",
    ),
    ServeOption(
        "--reload",
        is_flag=True,
        describes_endpoint=True,
        help="Serve a changed archive, directory or handler at the next call (SageMaker does not).",
    ),
    ServeOption(
        "--preload",
        metavar="MODULE,...",
        multiple=True,
        describes_endpoint=True,
        help="Modules to import once for all models' workers. Repeatable. [default: those that handlers import; on "
        "macOS none]",
    ),
    ServeOption(
        "--no-preload",
        "no_preloading",
        is_flag=True,
        describes_endpoint=True,
        help="Each worker imports all modules itself, and shares no memory.",
    ),
    ServeOption(
        "--debug",
        metavar="PORT",
        is_flag=False,
        flag_value=DEBUG_PORT,
        type=click.IntRange(1, 65535),
        describes_endpoint=True,
        help=f"A debugger can attach to the handlers' processes, the first at PORT (--debug alone: {DEBUG_PORT}).",
    ),
    ServeOption(
        "--python",
        metavar="PATH",
        describes_endpoint=True,
        is_path=True,
        help="Python or virtual environment in which handlers run; localmme need not be installed there. [default: "
        "localmme's own]",
    ),
    ServeOption(
        "--install-requirements",
        is_flag=True,
        describes_endpoint=True,
        help="Install an archive's code/requirements.txt in an environment for that file (SageMaker does not).",
    ),
    ServeOption(
        "--env",
        metavar="K=V",
        multiple=True,
        describes_endpoint=True,
        help="Environment of the container. Repeatable.",
    ),
    ServeOption(
        "--inherit-env",
        is_flag=True,
        help="Handlers and commands get all variables of this shell, AWS_* too, and not the execution role's "
        "credentials. [default: PATH, HOME and the like]",
    ),
    ServeOption(
        "--record",
        metavar="FILE",
        is_path=True,
        help="Record every event and call in this file: gzip-compressed JSON lines. localmme trace reads it.",
    ),
    ServeOption("--record-bodies", is_flag=True, help="Record the bodies of requests, too."),
    ServeOption(
        "--record-size",
        metavar="SIZE",
        default=RECORD_SIZE,
        show_default=True,
        help="Size of a recording's file at which another is begun; traffic.jsonl.gz becomes traffic.1.jsonl.gz.",
    ),
    ServeOption(
        "--show-polls",
        is_flag=True,
        help="Show each line that containers write about health polls. [default: the first, and how many followed]",
    ),
    ServeOption("--state-dir", metavar="DIR", is_path=True, help="Directory for logs and extracted models."),
    ServeOption(
        "--limit",
        "limits",
        metavar="NAME=VALUE",
        multiple=True,
        help="Change one of the platform's limits, such as invocation_seconds=5. Repeatable.",
    ),
    ServeOption(
        "--otel/--no-otel",
        default=None,
        help="Send traces of calls by OTLP, and pass traceparent on to containers (SageMaker does not). [default: if "
        "OTEL_EXPORTER_OTLP_ENDPOINT is set, without passing on]",
    ),
    ServeOption(
        "--metrics-models",
        metavar="N",
        type=click.IntRange(0),
        default=MOST_MODELS,
        show_default=True,
        help="Models of an endpoint that have their own metrics for Prometheus: the most invoked; the rest are one.",
    ),
    ServeOption(
        "--name",
        metavar="NAME",
        for_python=False,
        help="Name by which other commands find the emulator. With it, --port defaults to any free port.",
    ),
    ServeOption(
        "--detach",
        is_flag=True,
        for_python=False,
        help="Run in the background: return when it is InService. localmme stop ends it.",
    ),
    ServeOption(
        "--open",
        "open_page",
        is_flag=True,
        for_python=False,
        help="Open the emulator's page in a browser when it is InService, as localmme open does.",
    ),
    ServeOption("--until-eof", is_flag=True, hidden=True, for_python=False, help="End when standard input ends."),
]
PYTHON_OPTIONS = [option for option in OPTIONS if option.for_python]
