"""Which modules a handler imports, and which of them belong to installed packages or to Python itself.

Those are the same for all models. Other modules, such as a file beside the handler, may differ from model to model.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from importlib.machinery import PathFinder
from types import ModuleType
from typing import NamedTuple

_PACKAGES = ("site-packages", "dist-packages")


class Import(NamedTuple):
    """``import module``; with names, ``from module import names``."""

    module: str
    names: Sequence[str] = ()


def library_directories() -> tuple[str, ...]:
    """Where Python's own modules and installed packages are. Directories that development uses are not among them."""
    packages = {path for path in sys.path if os.path.basename(path.rstrip(os.sep)) in _PACKAGES}
    return tuple(os.path.join(directory, "") for directory in (os.path.dirname(os.__file__), *packages))


def is_from_library(name: str, module: ModuleType | None, directories: tuple[str, ...]) -> bool:
    """Whether a module of ``sys.modules`` can be imported by its name, from one of these directories."""
    spec = getattr(module, "__spec__", None)
    origin = getattr(spec, "origin", None)
    return spec is not None and spec.name == name and isinstance(origin, str) and origin.startswith(directories)


def imports_of(file: str) -> list[Import]:
    """What a handler's file imports whenever it is imported, and what the files beside it do that it imports.

    Imports in functions are not among them. Files that cannot be read or parsed have none.
    """
    return list(_imports(file, os.path.dirname(file), set()))


def _imports(file: str, beside: str, seen: set[str]) -> Iterator[Import]:
    seen.add(file)
    try:
        with open(file, "rb") as source:
            statements = ast.parse(source.read()).body
    except (OSError, SyntaxError, ValueError):
        return
    for statement in _executed(statements):
        for each in imported(statement):
            if not shadowed([each.module], [beside]):
                yield each
            elif (other := os.path.join(beside, *each.module.split(".")) + ".py") not in seen:
                yield from _imports(other, beside, seen)


def imported(statement: ast.AST) -> list[Import]:
    """What a statement imports; relative imports are not among it."""
    if isinstance(statement, ast.Import):
        return [Import(alias.name) for alias in statement.names]
    if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
        return [Import(statement.module, [alias.name for alias in statement.names if alias.name != "*"])]
    return []


def _executed(statements: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in statements:
        yield statement
        if isinstance(statement, ast.Try):
            yield from _executed(statement.body)


def shadowed(names: Collection[str], directories: Sequence[str]) -> set[str]:
    """Those of the modules that would be found in one of ``directories``, if these are on the import path."""
    tops = {name.partition(".")[0] for name in names}
    found = set()
    for directory in directories:
        try:
            entries = os.listdir(directory)
        except OSError:
            continue
        for top in tops.intersection(entry.partition(".")[0] for entry in entries):
            spec = PathFinder.find_spec(top, [directory])
            if spec is not None and spec.loader is not None and spec.origin is not None:
                found.add(top)
    return found
