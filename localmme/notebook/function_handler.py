"""A function of the notebook as a handler's file: its source, that of what it calls, and the values that it uses.

The source, not a pickled function: tracebacks show its lines, what it imports can be seen, and it can be taken further.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import math
import os
import symtable
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

from emulator.errors import SetupError
from emulator.model_server.handlers.imports import library_directories

ROLES = ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn")
_LITERALS = (bool, int, str, type(None))


@dataclass(frozen=True)
class FunctionHandler:
    """What is written for a function: the handler's text, and the file beside it with pickled values."""

    text: str
    values_file: str
    values: bytes
    uses: Mapping[str, Any]
    """The notebook's variables that went into it, by name; None: there was none, and one would."""

    def is_current(self, namespace: Mapping[str, Any]) -> bool:
        """Whether the notebook's variables are still the same objects."""
        return all(namespace.get(name) is value for name, value in self.uses.items())


def handler_of(name: str, namespace: Mapping[str, Any], *, with_notebook: bool = True) -> FunctionHandler:
    """The handler that the notebook's function of that name is, with those that go with it. Raises SetupError.

    Without ``with_notebook``, it runs where the notebook's values and import path are not, and must not need values.

    ``namespace`` are the notebook's variables. A function ``handle``, or one whose second parameter is ``context``, is
    a service function. Another one is the ``predict_fn``, unless it has the name of another function of SageMaker's
    toolkits; the notebook's functions with these names belong to the handler, too.
    """
    function = namespace[name]
    parameters = list(inspect.signature(function).parameters)
    needs = _Needs(namespace)
    needs.add(name, function)
    uses: dict[str, Any] = {}
    if name == "handle" or (name not in ROLES and parameters[1:] == ["context"]):
        ending = "" if name == "handle" else f"\n\nhandle = {name}\n"
    else:
        role = name if name in ROLES else "predict_fn"
        if role != name and role in needs.objects:
            raise SetupError(f"{name} calls predict_fn, and would take its place. Serve that: --handler $predict_fn")
        others = ("model_fn",) if role == "transform_fn" else tuple(each for each in ROLES[:-1] if each != role)
        uses = {each: namespace.get(each) for each in others}
        for each in others:
            if isinstance(uses[each], FunctionType):
                needs.add(each, uses[each])
        ending = _as_predict_fn(name, parameters, has_model_fn="model_fn" in needs.objects) if role != name else ""
    if needs.values and not with_notebook:
        raise SetupError(
            f"{name} uses {', '.join(needs.values)} of the notebook, which the archive would not have. "
            "Pack it with the model's files, and load it in model_fn."
        )
    values = _pickled(name, needs.values) if needs.values else b""
    file = f"values-{hashlib.sha256(values).hexdigest()[:16]}.pickle" if values else ""
    text = "".join(_lines(name, needs, file, _import_path() if with_notebook else [])) + ending
    return FunctionHandler(text, file, values, {**uses, **needs.objects})


def _as_predict_fn(name: str, parameters: list[str], *, has_model_fn: bool) -> str:
    """The end of a file in which the function of that name predicts."""
    if len(parameters) != 1:
        return f"\n\npredict_fn = {name}\n"
    text = f"\n\ndef predict_fn(data, model):\n    return {name}(data)\n"
    return text if has_model_fn else f"{text}\n\ndef model_fn(model_dir):\n    return None\n"


def _lines(name: str, needs: _Needs, values_file: str, path: list[str]) -> Iterator[str]:
    yield f"# The notebook's function {name} as a handler, with what it uses.\n"
    if path:
        yield f"import sys\n\nsys.path += [path for path in {path!r} if path not in sys.path]\n\n"
    yield from (f"{statement}\n" for statement in needs.imports)
    yield from (f"{each} = {value!r}\n" for each, value in needs.literals.items())
    if values_file:
        yield f"\nimport pathlib, pickle  # {', '.join(needs.values)}\n\n"
        yield f'globals().update(pickle.loads(pathlib.Path(__file__).with_name("{values_file}").read_bytes()))\n'
    yield from (f"\n\n{source}" for source in needs.sources)


def _import_path() -> list[str]:
    """From where the notebook imports, but for Python's own modules and installed packages."""
    libraries = library_directories()
    path = [os.path.abspath(entry) for entry in sys.path]
    return [entry for entry in path if os.path.isdir(entry) and not os.path.join(entry, "").startswith(libraries)]


@dataclass
class _Needs:
    """What some functions need, found by following the global names that they use."""

    namespace: Mapping[str, Any]
    objects: dict[str, Any] = field(default_factory=dict)  # all of the following by the name in the notebook
    imports: list[str] = field(default_factory=list)
    literals: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)  # what is called comes before what calls it

    def add(self, name: str, value: Any) -> None:
        """Add what is under a name in the notebook, and what it needs itself."""
        if name in self.objects:
            return
        self.objects[name] = value
        if isinstance(value, ModuleType):
            self._import(f"import {value.__name__}" + (f" as {name}" if name != value.__name__ else ""))
        elif statement := _import_of(name, value):
            self._import(statement)
        elif source := _source_of(name, value):
            self._follow(source)
            self.sources.append(source)
        elif type(value) in _LITERALS or (type(value) is float and math.isfinite(value)):
            self.literals[name] = value
        else:
            self.values[name] = value

    def _import(self, statement: str) -> None:
        if statement not in self.imports:
            self.imports.append(statement)

    def _follow(self, source: str) -> None:
        for name in sorted(_global_names(source)):
            if name in self.namespace:
                self.add(name, self.namespace[name])
        for node in ast.walk(ast.parse(source)):  # the name of a package stands for those of its modules, too
            if isinstance(node, ast.Attribute) and (module := self._module(node)):
                self._import(f"import {module}")

    def _module(self, node: ast.expr) -> str | None:
        """The imported module that an expression such as ``scipy.stats`` is; None: it is something else."""
        if isinstance(node, ast.Name):
            value = self.objects.get(node.id)
            return value.__name__ if isinstance(value, ModuleType) else None
        if isinstance(node, ast.Attribute) and (parent := self._module(node.value)):
            return name if (name := f"{parent}.{node.attr}") in sys.modules else None
        return None


def _import_of(name: str, value: Any) -> str | None:
    """The statement that imports a class or a function of a module; None: it cannot be imported."""
    module, own_name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(own_name, str) or module == "__main__":
        return None
    if getattr(sys.modules.get(module), own_name, None) is not value:
        return None
    return f"from {module} import {own_name}" + (f" as {name}" if name != own_name else "")


def _source_of(name: str, value: Any) -> str | None:
    """The source of a function that a cell defines under that name; None: it is something else, or has no source."""
    function = inspect.unwrap(value) if callable(value) else None
    if not isinstance(function, FunctionType) or function.__closure__ or function.__module__ != "__main__":
        return None
    try:
        source = textwrap.dedent(inspect.getsource(function))
        (statement,) = ast.parse(source).body
    except (OSError, ValueError, SyntaxError):
        return None
    is_definition = isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and statement.name == name
    return source.rstrip() + "\n" if is_definition else None


def _global_names(source: str) -> set[str]:
    """The names that a definition takes from its module, when it is made or when it is called."""
    tables, names = [symtable.symtable(source, "<cell>", "exec")], set()
    while tables:
        table = tables.pop()
        names |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()}
        if table.get_type() == "module":
            names |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
        tables += table.get_children()
    return names


def _pickled(function: str, values: Mapping[str, Any]) -> bytes:
    """The values together, so that what they share stays shared. Raises SetupError."""
    try:
        import cloudpickle
    except ImportError:
        raise SetupError(
            f"{function} uses {', '.join(values)} of the notebook. To take values along, localmme needs cloudpickle: "
            'pip install "localmme[notebook]"'
        ) from None
    try:
        pickled: bytes = cloudpickle.dumps(values)
        return pickled
    except Exception as error:
        culprits = [name for name, value in values.items() if not _can_be_pickled(value)]
        raise SetupError(
            f"{function} uses {', '.join(culprits or values)} of the notebook, which cannot be taken along: "
            f"{type(error).__name__}: {error}. Make it in the function itself, or in model_fn."
        ) from None


def _can_be_pickled(value: Any) -> bool:
    import cloudpickle

    try:
        cloudpickle.dumps(value)
    except Exception:
        return False
    return True
