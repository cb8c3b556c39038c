"""A function of the notebook as a handler's file: its source, that of what it calls, and the values that it uses.

The source, not a pickled function: tracebacks show its lines, what it imports can be seen, and it can be taken further.
Values are unpickled after that, as what they are made of may be among the notebook's own functions and classes.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from types import FunctionType
from typing import Any

from emulator.errors import SetupError
from emulator.model_server.handlers.imports import imported, library_directories
from localmme.notebook.needs import Needs, pickled

ROLES = ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn")
VALUES = """

import pathlib as _pathlib
import pickle as _pickle


class _Values(_pickle.Unpickler):
    def persistent_load(self, name):
        return globals()[name]


with _pathlib.Path(__file__).with_name("{file}").open("rb") as _file:
    globals().update(_Values(_file).load())  # {names}
"""


@dataclass(frozen=True)
class FunctionHandler:
    """What is written for a function: the handler's text, and the file beside it with pickled values."""

    text: str
    values_file: str
    values: bytes
    uses: Mapping[str, Any]
    """The notebook's variables that are in it, by name; None for one that the notebook lacks, and that would be."""
    literals: tuple[str, ...]
    """Those of which the value is in its text."""
    lacks_model_fn: bool
    """Whether nothing in it loads the model that it takes."""

    def is_current(self, namespace: Mapping[str, Any]) -> bool:
        """Whether the notebook's variables are still the same objects."""
        return all(namespace.get(name) is value for name, value in self.uses.items())


def is_function(value: Any) -> bool:
    """Whether a value is a function, also below a decorator such as ``lru_cache``."""
    return callable(value) and not isinstance(value, type) and isinstance(inspect.unwrap(value), FunctionType)


def handler_of(name: str, namespace: Mapping[str, Any], *, with_notebook: bool = True) -> FunctionHandler:
    """The handler that the notebook's function of that name is, with those that go with it. Raises SetupError.

    Without ``with_notebook``, it runs where the notebook's values and import path are not, and must not need values.

    ``namespace`` are the notebook's variables. A function ``handle``, or one whose second parameter is ``context``, is
    a service function. Another one is the ``predict_fn``, unless it has the name of another function of SageMaker's
    toolkits; the notebook's functions with these names belong to the handler, too.
    """
    function = namespace[name]
    parameters = _positional(name, function)
    needs = Needs(namespace)
    needs.add(name, function)
    uses: dict[str, Any] = {}
    if name == "handle" or (name not in ROLES and parameters[1:2] == ["context"]):
        ending = "" if name == "handle" else f"\n\nhandle = {name}\n"
    else:
        role = name if name in ROLES else "predict_fn"
        if role != name and role in needs.objects:
            raise SetupError(f"{name} calls predict_fn, and would take its place. Serve that: --handler $predict_fn")
        others = ("model_fn",) if role == "transform_fn" else tuple(each for each in ROLES[:-1] if each != role)
        uses = {each: namespace.get(each) for each in others}
        for each in others:
            if callable(uses[each]):
                needs.add(each, uses[each])
        ending = _as_predict_fn(name, parameters, has_model_fn="model_fn" in needs.objects) if role != name else ""
    for each in (name, *uses):
        _check_not_async(each, namespace.get(each))
    if needs.values and not with_notebook:
        raise SetupError(
            f"{name} uses {', '.join(needs.values)} of the notebook, which the archive would not have. "
            "Pack it with the model's files, and load it in model_fn."
        )
    values = pickled(name, needs) if needs.values else b""
    file = f"values-{hashlib.sha256(values).hexdigest()[:16]}.pickle" if values else ""
    text = "".join(_lines(name, needs, file, _import_path() if with_notebook else [])) + ending
    lacks_model_fn = "model_fn" in uses and "model_fn" not in needs.objects and "def model_fn(" not in ending
    return FunctionHandler(text, file, values, {**uses, **needs.objects}, tuple(needs.literals), lacks_model_fn)


def _check_not_async(name: str, function: Any) -> None:
    function = inspect.unwrap(function) if callable(function) else None
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise SetupError(f"{name} is async, and no container awaits what it returns. Write def, not async def.")


def _positional(name: str, function: Any) -> list[str]:
    """The parameters that a container has to fill: up to the last without a default, or that is the model or context.

    Raises SetupError for a function that no container can call.
    """
    parameters = inspect.signature(function).parameters.values()
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    filled = 1
    for number, each in enumerate(positional, 1):
        if each.default is each.empty or each.name in ("model", "context"):
            filled = number
    names = [each.name for each in positional[:filled]]
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY and each.default is each.empty:
            raise SetupError(f"{name} needs {each.name}=, and no container passes that. Give it a default.")
        if each.kind is each.VAR_POSITIONAL:
            names += [each.name] * (2 - len(names))
    if not names:
        raise SetupError(f"{name} takes no argument. A container calls it with the request's data.")
    return names


def _as_predict_fn(name: str, parameters: list[str], *, has_model_fn: bool) -> str:
    """The end of a file in which the function of that name predicts."""
    if len(parameters) != 1:
        return f"\n\npredict_fn = {name}\n"
    text = f"\n\ndef predict_fn(data, model):\n    return {name}(data)\n"
    return text if has_model_fn else f"{text}\n\ndef model_fn(model_dir):\n    return None\n"


def _lines(name: str, needs: Needs, values_file: str, path: list[str]) -> Iterator[str]:
    yield f"# The notebook's function {name} as a handler, with what it uses.\n"
    if path:
        yield f"import sys\n\nsys.path += [path for path in {path!r} if path not in sys.path]\n\n"
    yield from (f"{statement}\n" for statement in needs.imports)
    yield from (f"{each} = {value!r}\n" for each, value in needs.literals.items())
    yield from (f"\n\n{source}" for source in needs.sources.values())
    if values_file:
        yield VALUES.format(file=values_file, names=", ".join(needs.values))


def beside_the_notebook(text: str) -> list[str]:
    """The modules that a handler imports, also in its functions, and that are neither Python's nor a package's."""
    tops = {each.module.partition(".")[0] for node in ast.walk(ast.parse(text)) for each in imported(node)}
    return sorted(top for top in tops if _is_beside_the_notebook(top))


def _is_beside_the_notebook(module: str) -> bool:
    spec = PathFinder.find_spec(module)  # None: it is in Python itself, or not installed here
    files = [spec.origin] if spec and spec.origin else [*((spec and spec.submodule_search_locations) or [])]
    return any(not os.path.abspath(file).startswith(library_directories()) for file in files)


def _import_path() -> list[str]:
    """From where the notebook imports, but for Python's own modules and installed packages."""
    libraries = library_directories()
    path = [os.path.abspath(entry) for entry in sys.path]
    return [entry for entry in path if os.path.isdir(entry) and not os.path.join(entry, "").startswith(libraries)]
