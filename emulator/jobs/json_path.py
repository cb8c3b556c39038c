"""The subset of JSONPath of which the filters of transform jobs are, with the results of Jayway's library. [dg]"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from emulator.errors import EmulatorError

_NAME = re.compile(r"\.(?P<name>[^.\[\]*'\",\s]+)")
_WILDCARD = re.compile(r"\.\*|\.?\[\s*\*\s*\]")
_NAMES = re.compile(r"""\.?\[\s*(?P<names>(?:'[^']*'|"[^"]*")(?:\s*,\s*(?:'[^']*'|"[^"]*"))*)\s*\]""")
_POSITIONS = re.compile(r"\.?\[\s*(?P<positions>[-\d:,\s]+)\]")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_POSITION = re.compile(r"\s*(?:(?P<one>-?\d+)|(?P<start>-?\d+)?\s*:\s*(?P<end>-?\d+)?)\s*")


class InvalidJsonPath(EmulatorError):
    """A text that is no JSONPath of the supported subset."""


class NothingSelected(EmulatorError):
    """A value does not have what the path names."""


@dataclass(frozen=True)
class _Names:
    names: tuple[str, ...]

    def of(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise NothingSelected(f"it has no attribute {self.names[0]!r}, as it is not an object")
        if len(self.names) == 1:
            if self.names[0] not in value:
                raise NothingSelected(f"it has no attribute {self.names[0]!r}")
            return value[self.names[0]]
        return {name: value[name] for name in self.names if name in value}


@dataclass(frozen=True)
class _Positions:
    positions: tuple[int | slice, ...]

    def of(self, value: Any) -> Any:
        if not isinstance(value, list):
            raise NothingSelected("it has no positions, as it is not an array")
        if len(self.positions) == 1 and isinstance(self.positions[0], int):
            return self._at(value, self.positions[0])
        selected: list[Any] = []
        for position in self.positions:
            selected += value[position] if isinstance(position, slice) else [self._at(value, position)]
        return selected

    @staticmethod
    def _at(value: list[Any], position: int) -> Any:
        if not -len(value) <= position < len(value):
            raise NothingSelected(f"it has no position {position}, but {len(value)} elements")
        return value[position]


@dataclass(frozen=True)
class _Wildcard:
    def of(self, value: Any) -> Any:
        if isinstance(value, dict):
            return list(value.values())
        if isinstance(value, list):
            return value
        raise NothingSelected("it has no parts, as it is neither an object nor an array")


class JsonPath:
    """A parsed expression.

    Several names select an object, several positions or a slice an array, and after a wildcard, the rest of the path
    is of each part. The end of a slice is exclusive, as in all public examples of its use; the guide says inclusive.
    """

    def __init__(self, text: str) -> None:
        """Raises InvalidJsonPath."""
        self.text = text
        self._steps: list[_Names | _Positions | _Wildcard] = []
        if not text.startswith("$"):
            raise InvalidJsonPath(f"{text!r} does not begin with $")
        place = 1
        while place < len(text):
            place = self._read_step(place)

    @property
    def selects_all(self) -> bool:
        """Whether it is ``$``: the value itself."""
        return not self._steps

    @property
    def has_names(self) -> bool:
        """Whether it names attributes, which a row of CSV does not have."""
        return any(isinstance(step, _Names) for step in self._steps)

    def select(self, value: Any) -> Any:
        """What the path selects of a value of JSON's types. Raises NothingSelected, with the rest of a sentence."""
        return self._select(value, 0)

    def _select(self, value: Any, step: int) -> Any:
        if step == len(self._steps):
            return value
        selected = self._steps[step].of(value)
        if isinstance(self._steps[step], _Wildcard):
            return [self._select(part, step + 1) for part in selected]
        return self._select(selected, step + 1)

    def _read_step(self, place: int) -> int:
        text = self.text
        if match := _WILDCARD.match(text, place):
            self._steps.append(_Wildcard())
        elif match := _NAMES.match(text, place):
            self._steps.append(_Names(tuple(a or b for a, b in _QUOTED.findall(match["names"]))))
        elif match := _POSITIONS.match(text, place):
            self._steps.append(_Positions(tuple(self._positions(match["positions"].split(",")))))
        elif match := _NAME.match(text, place):
            self._steps.append(_Names((match["name"],)))
        else:
            raise InvalidJsonPath(f"{text!r} is not a supported JSONPath from {text[place:]!r} on")
        return match.end()

    def _positions(self, texts: Iterable[str]) -> Iterable[int | slice]:
        for text in texts:
            match = _POSITION.fullmatch(text)
            if match is None:
                raise InvalidJsonPath(f"{self.text!r} has no position {text.strip()!r}")
            if match["one"] is not None:
                yield int(match["one"])
            else:
                start, end = match["start"], match["end"]
                yield slice(None if start is None else int(start), None if end is None else int(end))
