"""A user's entry point: where it is below the code's directory, and the command that runs it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

PROGRAM, SUBMIT_DIRECTORY = "sagemaker_program", "sagemaker_submit_directory"  # hyperparameters
_NAME = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._+-]*(/[A-Za-z0-9._+-]+)*")


class EntryPointError(Exception):
    """An entry point that cannot be run; the message is what the job fails for."""


def command(python: str, code: str, name: str, arguments: Sequence[str]) -> list[str]:
    """The command that runs an entry point in its directory, as the toolkit does.

    A program of Python, a module of a package (one with a ``setup.py``), or a program of the shell, which is made
    executable. Raises EntryPointError when there is none of that name in the directory.
    """
    check(name)
    path = os.path.join(code, name)
    if name.endswith(".sh") or not (is_package(code) or name.endswith(".py")):
        if not os.path.isfile(path):
            raise EntryPointError(_missing(code, name))
        os.chmod(path, 0o755)
        return ["/bin/sh", "-c", f"./{shlex.quote(name)} {' '.join(map(shlex.quote, arguments))}"]
    if is_package(code):
        return [python, "-m", re.sub(r"\.py$", "", name), *arguments]
    if not os.path.isfile(path):
        raise EntryPointError(_missing(code, name))
    return [python, "--", name, *arguments]


def check(name: str) -> None:
    """Raises EntryPointError unless the name is a plain path below the code's directory."""
    if not name:
        raise EntryPointError(f"There is no entry point: set the hyperparameter {PROGRAM}, such as train.py.")
    if not _NAME.fullmatch(name) or {".", ".."}.intersection(name.split("/")):
        raise EntryPointError(
            f"{name!r} cannot be the entry point: it has to be a path below the source directory, of letters, digits, "
            "'.', '_', '+', '-' and '/'."
        )


def is_package(code: str) -> bool:
    """Whether the code is a Python package that can be installed."""
    return os.path.exists(os.path.join(code, "setup.py"))


def module_name(name: str) -> str:
    """An entry point's name as that of a module: without ``.py``."""
    return re.sub(r"\.py$", "", name)


def _missing(code: str, name: str) -> str:
    found = ", ".join(sorted(os.listdir(code))[:20]) or "nothing"
    return f"There is no {name} in the source directory, which has: {found}."
