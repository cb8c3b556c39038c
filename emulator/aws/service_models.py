"""Checks values against the model of SageMaker's API that comes with botocore. [api]"""

from __future__ import annotations

import functools
import json
import math
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from emulator.aws.services import api_model
from emulator.suggestions import did_you_mean

if TYPE_CHECKING:  # it takes a fifth of all that a start takes: imported by the first call of the API
    from botocore.model import OperationModel, ServiceModel, Shape

API_VERSION = "2017-07-24"
LISTED_AT_MOST = 10  # alternatives that a message spells out

Place = tuple[str | int, ...]  # keys and positions, from the value that was checked down to a part of it
Kind = Literal["unknown", "missing", "type", "enum", "pattern", "min", "max", "union"]


@dataclass(frozen=True)
class Problem:
    """One thing that the API would refuse."""

    place: Place
    kind: Kind
    message: str  # what is wrong, as the rest of a sentence that starts with the place
    bound: Any = None  # what the model says: the type's name, the enum's values, the pattern, the least or the most


@functools.cache
def _service_model() -> ServiceModel:
    from botocore.model import ServiceModel

    return ServiceModel(api_model("sagemaker", API_VERSION), "sagemaker")


def shape(name: str) -> Shape:
    """A shape of the SageMaker API, such as ``CreateModelInput``."""
    return _service_model().shape_for(name)


def operation_names() -> Collection[str]:
    """All operations of the SageMaker API."""
    found: Collection[str] = _service_model().operation_names
    return found


def operation_model(name: str) -> OperationModel:
    """An operation of the SageMaker API."""
    return _service_model().operation_model(name)


def input_shape_name(operation: str) -> str:
    """The name of the shape of an operation's arguments."""
    return str(operation_model(operation).input_shape.name)


def problems(expected: Shape, value: Any, place: Place = ()) -> Iterator[Problem]:
    """All that is wrong with a value of JSON's types. ``place`` is the place of the value itself."""
    kind = expected.type_name
    if kind in _TYPES:
        words, fits = _TYPES[kind]
        if not fits(value):
            yield Problem(place, "type", f"must be {words}, not {value_summary(value)}", kind)
            return
    if kind == "structure":
        yield from _structure_problems(expected, value, place)
    elif kind == "list":
        yield from _range_problems(expected, len(value), place, "items")
        for position, item in enumerate(value):
            yield from problems(expected.member, item, (*place, position))
    elif kind == "map":
        yield from _range_problems(expected, len(value), place, "entries")
        for key, item in value.items():
            yield from problems(expected.key, key, (*place, key))
            yield from problems(expected.value, item, (*place, key))
    elif kind == "string":
        yield from _string_problems(expected, value, place)
    elif kind in _WIDEST:
        yield from _range_problems(expected, value, place)


def _structure_problems(expected: Shape, value: dict[str, Any], place: Place) -> Iterator[Problem]:
    for name in value:
        if name not in expected.members:
            advice = did_you_mean(name, expected.members)
            yield Problem((*place, name), "unknown", f"is not a member of {expected.name}" + (advice and f": {advice}"))
    for name in expected.required_members:
        if name not in value:
            yield Problem((*place, name), "missing", "is missing")
    if getattr(expected, "is_tagged_union", False) and len(value) != 1:
        yield Problem(place, "union", f"takes exactly one of {', '.join(expected.members)}", list(expected.members))
    for name, member in expected.members.items():
        if name in value:
            yield from problems(member, value[name], (*place, name))


def _string_problems(expected: Shape, value: str, place: Place) -> Iterator[Problem]:
    allowed = expected.metadata.get("enum")
    if allowed and value not in allowed:
        yield Problem(place, "enum", not_among(value, allowed), allowed)
    outside = list(_range_problems(expected, len(value), place, "characters"))
    yield from outside
    pattern = expected.metadata.get("pattern")
    # No pattern is tried on a text that is too long, which could take long as well.
    if pattern and not outside and (compiled := compiled_pattern(pattern)) and not compiled.fullmatch(value):
        yield Problem(place, "pattern", f"must match {pattern}, which {value_summary(value)} does not", pattern)


def _range_problems(expected: Shape, size: float, place: Place, unit: str = "") -> Iterator[Problem]:
    widest = _WIDEST.get(expected.type_name, math.inf)
    least, most = expected.metadata.get("min", -widest), expected.metadata.get("max", widest)
    verb = "have" if unit else "be"
    if size < least:
        yield Problem(place, "min", f"must {verb} at least {_counted(least, unit)}, not {value_summary(size)}", least)
    if size > most:
        yield Problem(place, "max", f"must {verb} at most {_counted(most, unit)}, not {value_summary(size)}", most)


_SINGULAR = {"items": "item", "entries": "entry", "characters": "character"}


def _counted(count: float, unit: str) -> str:
    return f"{count} {_SINGULAR[unit] if count == 1 else unit}" if unit else str(count)


# Java's classes that Python's patterns do not have; each stands inside of brackets. \w has an underscore
# besides, and so has every pattern with \p{L} and \p{N}. Where a class is not listed, nothing is checked.
_JAVA_CLASSES = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\w",
    r"\p{Z}": r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\p{Print}": " -~",
}


@functools.cache
def compiled_pattern(pattern: str) -> re.Pattern[str] | None:
    """A Java pattern of the API for Python, to be matched in full; None if Python cannot express it."""
    translated = pattern.replace(r"\z", r"\Z")
    for java, python in _JAVA_CLASSES.items():
        translated = translated.replace(java, python)
    try:
        # Java's \d, \s and \w are those of ASCII.
        return re.compile(translated, 0 if r"\p{" in pattern else re.ASCII)
    except re.error:
        return None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


# The numbers of the API, and the largest of each kind; its floats have 32 bits.
_WIDEST = {
    "integer": 2**31 - 1,
    "long": 2**63 - 1,
    "float": (2 - 2**-23) * 2.0**127,
    "double": sys.float_info.max,
}
_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "structure": ("a mapping", lambda value: isinstance(value, dict)),
    "map": ("a mapping", lambda value: isinstance(value, dict)),
    "list": ("a list", lambda value: isinstance(value, list)),
    "string": ("a string", lambda value: isinstance(value, str)),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "integer": ("a whole number", _is_whole),
    "long": ("a whole number", _is_whole),
    "float": ("a number", _is_number),
    "double": ("a number", _is_number),
    "timestamp": ("a time, in seconds since 1970", _is_number),
}


def value_summary(value: Any) -> str:
    """A value in a message: what it is, and never more than a line of it."""
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def dotted_path(place: Place) -> str:
    """A place within a request, as text: ``ProductionVariants[0].ModelName``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")


def not_among(value: str, allowed: Sequence[str]) -> str:
    """The message for a value that is not allowed: the alternatives, or the similar ones if they are many."""
    if len(allowed) <= LISTED_AT_MOST:
        return f"must be {' or '.join(allowed)}, not {value_summary(value)}"
    advice = did_you_mean(value, allowed)
    return f"does not take {value_summary(value)}" + (advice and f": {advice}")
