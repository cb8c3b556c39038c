"""Run SageMaker multi-model endpoints on your own machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from localmme.faults import fault
    from localmme.python_api import Emulator, serve
    from localmme.serve_process import ServeError
    from localmme.trace.reading import read_trace

__version__ = "0.1.0"
__all__ = ["Emulator", "ServeError", "__version__", "fault", "read_trace", "serve"]

# Imported when first used: the command line would wait for what it does not need.
_HOMES = {
    "Emulator": "python_api",
    "ServeError": "serve_process",
    "fault": "faults",
    "read_trace": "trace.reading",
    "serve": "python_api",
    "load_ipython_extension": "notebook.magic",
    "unload_ipython_extension": "notebook.magic",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
