"""Requests of the SageMaker API, generated from botocore's model of it, and all the ways to get them wrong."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.model import Shape

from emulator.aws.service_models import Place, compiled_pattern, problems
from tests.support.control_plane import ARN, ROLE

# Tried in turn for a string, until one is what the model takes.
ARNS = (ROLE, f"{ARN}:x/y", "arn:aws:sns:us-east-1:123456789012:topic")
TEXTS = ("a", *ARNS, "s3://bucket/key", "s3://b/key", "/metrics", "mig-1g.5gb", "text/csv")

Takes = Callable[[Shape, str], bool]  # whether a structure's member is to be in the request


class Generator:
    """Makes values of shapes; those that have to be something particular are given by a member's or a shape's name."""

    def __init__(self, named: Mapping[str, Any], takes: Takes) -> None:
        self._named = named
        self._takes = takes

    def value(self, of: Shape, name: str = "") -> Any:
        """Raises AssertionError when the model takes none of those that are tried: name one then."""
        for known in (name, of.name):
            if known in self._named:
                return self._named[known]
        if of.type_name == "structure":
            wanted = {*of.required_members, *(member for member in of.members if self._takes(of, member))}
            return {member: self.value(of.members[member], member) for member in of.members if member in wanted}
        if of.type_name == "list":
            return [self.value(of.member, name) for _ in range(max(1, of.metadata.get("min", 1)))]
        if of.type_name == "map":
            return {self.value(of.key): self.value(of.value)}
        if of.type_name == "string":
            texts = of.metadata.get("enum") or TEXTS
            found = next((text for text in texts if not list(problems(of, text))), None)
            assert found is not None, f"no text that is tried is what {of.name} takes for {name}: {of.metadata}"
            return found
        if of.type_name == "timestamp":
            return time.time()
        return True if of.type_name == "boolean" else max(1, of.metadata.get("min", 1))


@dataclass(frozen=True)
class Wrong:
    """A request with one thing wrong with it."""

    asked: Any
    place: Place
    says: str  # of the constraint


def parts(of: Shape, value: Any, place: Place = ()) -> Iterator[tuple[Shape, Any, Place]]:
    """A value and everything in it, with the shape that each thing is of."""
    yield of, value, place
    if of.type_name == "structure":
        for name, member in value.items():
            yield from parts(of.members[name], member, (*place, name))
    elif of.type_name == "list":
        for position, item in enumerate(value):
            yield from parts(of.member, item, (*place, position))
    elif of.type_name == "map":
        for key, item in value.items():
            yield from parts(of.value, item, (*place, key))


def with_value(asked: Any, place: Place, value: Any) -> Any:
    """A request with another value in that place."""
    if not place:
        return value
    changed = copy.deepcopy(asked)
    part = changed
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    return changed


def without(asked: Any, place: Place) -> Any:
    """A request without the member in that place."""
    changed = copy.deepcopy(asked)
    part = changed
    for step in place[:-1]:
        part = part[step]
    del part[place[-1]]
    return changed


def path(place: Place) -> str:
    """As SageMaker writes a place in an error: ``productionVariants.1.member.variantName``."""
    steps = (f"{step + 1}.member" if isinstance(step, int) else step[0].lower() + step[1:] for step in place)
    return ".".join(steps)


def lacking(of: Shape, asked: Any) -> Iterator[Wrong]:
    """The request without each of the members that it needs."""
    for part, _, place in parts(of, asked):
        for name in part.required_members if part.type_name == "structure" else ():
            there = (*place, name)
            says = f"Value null at '{path(there)}' failed to satisfy constraint: Member must not be null"
            yield Wrong(without(asked, there), there, says)
            yield Wrong(with_value(asked, there, None), there, says)


def outside(of: Shape, asked: Any) -> Iterator[Wrong]:
    """The request with each of its parts outside of each of the model's constraints for it."""
    for part, value, place in parts(of, asked):
        for wrong, rule in _values_outside(part, value):
            constraint = f"at '{path(place)}' failed to satisfy constraint: Member must {rule}"
            yield Wrong(with_value(asked, place, wrong), place, constraint)


def _values_outside(of: Shape, value: Any) -> Iterator[tuple[Any, str]]:
    least, most = of.metadata.get("min"), of.metadata.get("max")
    kind, of_what = of.type_name, "value" if of.type_name in ("integer", "float", "long") else "length"
    least_rule = f"have {of_what} greater than or equal to {least}"
    most_rule = f"have {of_what} less than or equal to {most}"
    if kind == "string" and "enum" in of.metadata:
        yield "neither", f"satisfy enum value set: [{', '.join(of.metadata['enum'])}]"
    elif kind == "string":
        if pattern := of.metadata.get("pattern"):
            compiled = compiled_pattern(pattern)
            assert compiled is not None, pattern
            fitting = (text for text in ("\n", "?") if not compiled.fullmatch(text))
            for text in itertools.islice(fitting, 1):
                yield text * max(1, least or 1), f"satisfy regular expression pattern: {pattern}"
        if least:
            yield "a" * (least - 1), least_rule
        if most:
            yield "a" * (most + 1), most_rule
    elif kind == "list":
        if least:
            yield value[: least - 1], least_rule
        if most:
            yield (value * (most + 1))[: most + 1], most_rule
    elif kind == "map" and most:
        yield {f"a{n}": next(iter(value.values())) for n in range(most + 1)}, most_rule
    elif of_what == "value":
        if least is not None:
            yield least - 1, least_rule
        if most is not None:
            yield most + 1, most_rule


# Something that is not of the type, each.
OTHER_TYPES = {
    "structure": ["text"],
    "list": {},
    "map": [],
    "string": 5,
    "boolean": "true",
    "integer": 1.5,
    "long": "1",
    "float": "1.0",
    "timestamp": "yesterday",
}


def mistyped(of: Shape, asked: Any) -> Iterator[Wrong]:
    """The request with each of its parts of another type."""
    for part, _, place in parts(of, asked):
        yield Wrong(with_value(asked, place, OTHER_TYPES[part.type_name]), place, path(place))
