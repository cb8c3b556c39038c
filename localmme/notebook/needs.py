"""What functions of the notebook need to run elsewhere: imports, the source of other definitions, and values."""

from __future__ import annotations

import ast
import inspect
import io
import linecache
import math
import symtable
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from emulator.errors import SetupError

_LITERALS = (bool, str, type(None))
_LONGEST_INTEGER = 10_000  # [ours] bits; Python writes and reads integers of up to 4,300 digits, which have more


@dataclass
class Needs:
    """What some functions need, found by following the global names that they use."""

    namespace: Mapping[str, Any]
    objects: dict[str, Any] = field(default_factory=dict)  # all of the following by the name in the notebook
    imports: list[str] = field(default_factory=list)
    literals: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)  # what a definition needs to be made comes before it
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, value: Any) -> None:
        """Add what is under a name in the notebook, and what it needs itself."""
        if name in self.objects:
            return
        self.objects[name] = value
        if isinstance(value, ModuleType):
            self._import(f"import {value.__name__}" + (f" as {name}" if name != value.__name__ else ""))
        elif statement := _import_of(name, value):
            self._import(statement)
        elif (source := _source_of(name, value)) and self._follow(source):
            self.sources[name] = source
        elif _is_literal(value):
            self.literals[name] = value
        else:
            self.values[name] = value

    def defines(self, value: Any) -> str | None:
        """The name of a function or a class of the notebook that values refer to, if the file has its source."""
        name = getattr(value, "__name__", None)
        if isinstance(name, str) and self.namespace.get(name) is value:
            self.add(name, value)
            return name if name in self.sources else None
        return None

    def _import(self, statement: str) -> None:
        if statement not in self.imports:
            self.imports.append(statement)

    def _follow(self, source: str) -> bool:
        """Add what a definition needs. Returns False if it cannot be made before the values are there."""
        names, needed_first = _global_names(source)
        for name in sorted(names):
            if name in self.namespace:
                self.add(name, self.namespace[name])
        for node in ast.walk(ast.parse(source)):  # the name of a package stands for those of its modules, too
            if isinstance(node, ast.Attribute) and (module := self._module(node)):
                self._import(f"import {module}")
        return needed_first.isdisjoint(self.values)

    def _module(self, node: ast.expr) -> str | None:
        """The imported module that an expression such as ``scipy.stats`` is; None: it is something else."""
        if isinstance(node, ast.Name):
            value = self.objects.get(node.id)
            return value.__name__ if isinstance(value, ModuleType) else None
        if isinstance(node, ast.Attribute) and (parent := self._module(node.value)):
            return name if (name := f"{parent}.{node.attr}") in sys.modules else None
        return None


def _is_literal(value: Any) -> bool:
    """Whether Python reads the value as it writes it."""
    if type(value) is int:
        return value.bit_length() <= _LONGEST_INTEGER
    return type(value) in _LITERALS or (type(value) is float and math.isfinite(value))


def _import_of(name: str, value: Any) -> str | None:
    """The statement that imports a class or a function of a module; None: it cannot be imported."""
    module, own_name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(own_name, str) or module == "__main__":
        return None
    if getattr(sys.modules.get(module), own_name, None) is not value:
        return None
    return f"from {module} import {own_name}" + (f" as {name}" if name != own_name else "")


def _source_of(name: str, value: Any) -> str | None:
    """The source of a function or a class that a cell defines under that name; None: it is something else, or has no
    source."""
    if not callable(value) or getattr(value, "__module__", None) != "__main__":
        return None
    try:
        if isinstance(value, type):
            source = _source_of_class(value)
        else:
            function = inspect.unwrap(value)
            source = inspect.getsource(function) if not getattr(function, "__closure__", None) else ""
        if source[:1].isspace():  # in a block; without the indentation, texts of several lines would be others
            source = f"if True:\n{source}"
        (statement,) = ast.parse(source).body
        if isinstance(statement, ast.If):
            (statement,) = statement.body
    except (OSError, TypeError, ValueError, SyntaxError):
        return None
    is_definition = isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    return source.rstrip() + "\n" if is_definition and statement.name == name else None  # type: ignore[attr-defined]


def _source_of_class(value: type) -> str:
    """The source of a class, found by a method that it defines: inspect looks for a file of the class's module."""
    for member in vars(value).values():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        code = getattr(inspect.unwrap(function) if callable(function) else None, "__code__", None)
        lines = linecache.getlines(code.co_filename) if code else []
        for statement in ast.parse("".join(lines)).body:
            if isinstance(statement, ast.ClassDef) and statement.name == value.__name__:
                first = min([statement.lineno, *(decorator.lineno for decorator in statement.decorator_list)])
                return "".join(lines[first - 1 : statement.end_lineno])
    return ""


def _global_names(source: str) -> tuple[set[str], set[str]]:
    """The names that a definition takes from its module; and those of them that it takes when it is made."""
    module = symtable.symtable(source, "<cell>", "exec")
    first = {symbol.get_name() for symbol in module.get_symbols() if symbol.is_referenced()}
    names, tables = set(first), list(module.get_children())
    while tables:
        table = tables.pop()
        found = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()}
        names |= found
        if table.get_type() == "class":
            first |= found
        tables += table.get_children()
    return names, first


def pickled(function: str, needs: Needs) -> bytes:
    """The values that the function of that name needs, together, so that what they share stays shared.

    Adds the definitions to which they refer to what is needed. Raises SetupError.
    """
    try:
        import cloudpickle  # noqa: F401
    except ImportError:
        raise SetupError(
            f"{function} uses {', '.join(needs.values)} of the notebook. To take values along, localmme needs "
            'cloudpickle: pip install "localmme[notebook]"'
        ) from None
    try:
        known = 0
        while known < len(needs.values):  # values may refer to functions that need further values
            known = len(needs.values)
            data = _dumped(dict(needs.values), needs)
        return data
    except Exception as error:
        culprits = [name for name, value in list(needs.values.items()) if not _can_be_pickled(value, needs)]
        raise SetupError(
            f"{function} uses {', '.join(culprits or needs.values)} of the notebook, which cannot be taken along: "
            f"{type(error).__name__}: {error}. Make it in the function itself, or in model_fn."
        ) from None


def _can_be_pickled(value: Any, needs: Needs) -> bool:
    try:
        _dumped(value, needs)
    except Exception:
        return False
    return True


def _dumped(value: Any, needs: Needs) -> bytes:
    """A pickle in which the definitions in the handler's file are named; other ones are in it as a whole."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def persistent_id(self, obj: Any) -> str | None:
            if callable(obj) and getattr(obj, "__module__", None) == "__main__":
                return needs.defines(obj)
            return None

    file = io.BytesIO()
    Pickler(file).dump(value)
    return file.getvalue()
