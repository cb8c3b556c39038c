"""What AWS's containers do with a handler, a module for each container: ``--toolkit NAME``.

A module's ``TOOLKIT`` says where the container looks for the handler, and makes a service of it: an object with the
methods ``initialize(context)`` and ``handle(data, context)``, as Multi Model Server loads and calls it.
"""

from __future__ import annotations

import importlib
import os
from typing import cast

from emulator.model_server.handlers.toolkits.toolkit import Toolkit
from emulator.model_server.http.response import HandlerError

VARIABLE = "LOCALMME_TOOLKIT"  # of the container's environment; names the toolkit
NAMES = ("inference", "pytorch", "huggingface", "sklearn", "xgboost", "tensorflow", "mms")


def named(name: str) -> Toolkit:
    """A container's toolkit. Only its module is imported, never that of a framework."""
    return cast(Toolkit, importlib.import_module(f"{__name__}.{name}").TOOLKIT)


def chosen() -> Toolkit | None:
    """The toolkit of ``--toolkit``, if one was chosen. Raises HandlerError for a name that there is not."""
    name = os.environ.get(VARIABLE, "auto")
    if name not in ("auto", *NAMES):
        raise HandlerError(f"{VARIABLE} must be auto or one of {', '.join(NAMES)}, not {name!r}")
    return None if name == "auto" else named(name)
