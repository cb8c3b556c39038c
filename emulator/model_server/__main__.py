"""The model server's command line."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", sys.flags.isolated):
    # python -m puts the working directory first. A queue.py there would hide the standard library's; and on SageMaker,
    # handlers cannot import from such a directory.
    del sys.path[0]

import argparse
import functools

from emulator.model_server.handlers import styles, submit_directory, toolkits
from emulator.model_server.http.response import HandlerError
from emulator.model_server.workers import debugger, preloading, spawner, worker

_MODEL_DIR = "/opt/ml/model"  # where SageMaker puts a single model


def main() -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code, see ``run.serve``."""
    arguments = _arguments()
    if arguments.reload:  # Python takes a file that changes twice within a second, and keeps its size, for compiled
        sys.dont_write_bytecode = True
    with submit_directory.fetched():
        # Before anything else, so that the workers it forks inherit no event loop and no sockets.
        if arguments.python:
            try:
                workers = spawner.start_in(arguments.python)
            except OSError as error:
                print(f"{arguments.python} cannot be run: {error.strerror}", file=sys.stderr)
                return 1
        else:
            work = functools.partial(worker.work, debugger.from_environment())
            workers = spawner.start(work, preloading.prepare)

        from emulator.model_server import run

        return run.serve(workers, **vars(arguments))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m emulator.model_server",
        description="Serve models with Python handlers, on 127.0.0.1 at port $SAGEMAKER_BIND_TO_PORT (default 8080), "
        "or at the Unix socket $LOCALMME_BIND_TO_SOCKET instead: "
        "with SAGEMAKER_MULTI_MODEL=true the models that POST /models loads, else the one in $SM_MODEL_DIR (default "
        f"{_MODEL_DIR}).",
    )
    parser.add_argument(
        "--handler",
        metavar="FILE[:NAME]",
        type=_handler,
        help="the handler of all models; NAME is a function handle(data, context) or a class with such a method. "
        "Without it, each model's archive contains its own, code/inference.py or inference.py.",
    )
    parser.add_argument(
        "--workers-per-model",
        metavar="N",
        type=_count,
        default=os.environ.get("SAGEMAKER_MODEL_SERVER_WORKERS", "1"),
        help="worker processes of each model (default: $SAGEMAKER_MODEL_SERVER_WORKERS, or 1)",
    )
    parser.add_argument(
        "--grace-seconds",
        metavar="S",
        type=float,
        default=25.0,
        help="how long an unload, or the end of the server, waits for invocations under way (default: 25)",
    )
    parser.add_argument(
        "--invocation-seconds",
        metavar="S",
        type=float,
        default=os.environ.get("SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS", "60"),
        help="how long a handler may take to begin its response before its worker is killed "
        "(default: $SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS, or 60)",
    )
    parser.add_argument(
        "--preload",
        metavar="MODULE,...",
        type=_modules,
        default=os.environ.get("LOCALMME_PRELOAD"),
        help="modules that are imported once for the workers of all models; '' for none (default: $LOCALMME_PRELOAD; "
        "without it, on Linux, what handlers import)",
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        default=os.environ.get("LOCALMME_RELOAD") == "true",
        help="load a model anew when its handler's files change (default: if $LOCALMME_RELOAD is true)",
    )
    parser.add_argument(
        "--python",
        metavar="PATH",
        default=os.environ.get("LOCALMME_PYTHON"),
        help="the Python in which handlers run (default: $LOCALMME_PYTHON, or this one)",
    )
    parser.add_argument(
        "--install-requirements",
        action="store_true",
        default=os.environ.get("LOCALMME_INSTALL_REQUIREMENTS") == "true",
        help="install a model's code/requirements.txt or requirements.txt in an environment for that file, once "
        "(default: if $LOCALMME_INSTALL_REQUIREMENTS is true)",
    )
    arguments = parser.parse_args()
    try:
        toolkits.chosen()
    except HandlerError as error:
        parser.error(str(error))
    port = os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")
    if not port.isdecimal() or int(port) > 65535:
        parser.error(f"SAGEMAKER_BIND_TO_PORT must be a port number, not {port!r}")
    arguments.port = int(port)
    arguments.socket_path = os.environ.get("LOCALMME_BIND_TO_SOCKET")
    multi_model = os.environ.get("SAGEMAKER_MULTI_MODEL") == "true"
    arguments.model_dir = None if multi_model else os.environ.get("SM_MODEL_DIR") or _MODEL_DIR
    return arguments


def _handler(text: str) -> str:
    file, name = styles.split(text)
    if not os.path.isfile(file):
        raise argparse.ArgumentTypeError(f"there is no file {file}")
    return os.path.abspath(file) + (f":{name}" if name else "")


def _modules(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise argparse.ArgumentTypeError(f"{name!r} is not the name of a module")
    return names


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
