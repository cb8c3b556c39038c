"""The patterns of policies: text with wildcards and policy variables, and ARNs, part by part. [iam user guide]"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Callable, Iterable

from emulator.aws.permissions import Context

ARN_PARTS = 6  # arn:partition:service:region:account:resource, which may have further colons
_VARIABLE = re.compile(r"\$\{\s*(?P<name>[^{},']+?)\s*(?:,\s*'(?P<default>[^']*)'\s*)?\}")
_COLON = re.compile(r":(?![^{]*\})")  # not one of a variable's name


class Unresolved(Exception):
    """A policy variable stands for a condition key that this request does not have."""


def matches_any(
    likes: Iterable[Callable[[str, Context], bool]], value: str, context: Context, negated: bool = False
) -> bool:
    """Whether the value matches one of these; ``negated``: whether it matches none.

    What has a variable without a value is like nothing. Raises Unresolved when that would be read as a yes.
    """
    for like in likes:
        try:
            if like(value, context):
                return not negated
        except Unresolved:
            if negated:
                raise
    return negated


class TextPattern:
    """A text of a policy. ``*`` and ``?`` match, ``${key}`` and ``${key, 'default'}`` are replaced, where asked for.

    What a variable stands for is taken literally: a tag of ``*`` gives access to nothing.
    """

    def __init__(self, text: str, *, wildcards: bool = True, variables: bool = True, ignore_case: bool = False) -> None:
        self._ignore_case = ignore_case
        self._parts: list[_Run | re.Match[str]] = []  # what is between variables, and these
        end = 0
        for match in _VARIABLE.finditer(text) if variables else ():
            self._parts += [*_runs(text[end : match.start()], wildcards, ignore_case), match]
            end = match.end()
        self._parts += _runs(text[end:], wildcards, ignore_case)
        fixed = [part for part in self._parts if not isinstance(part, re.Match)]
        self._fixed = _between_stars(fixed) if len(fixed) == len(self._parts) else None

    def matches(self, value: str, context: Context) -> bool:
        """Raises Unresolved."""
        segments = self._fixed
        if segments is None:
            segments = _between_stars(
                self._folded(_resolved(part, context)) if isinstance(part, re.Match) else part for part in self._parts
            )
        return _matches(segments, self._folded(value))

    def _folded(self, text: str) -> str:
        return text.lower() if self._ignore_case else text


class _Wildcard(enum.Enum):
    ANY = "*"  # any characters, or none
    ONE = "?"  # any one character


_Run = str | _Wildcard
_Segment = tuple[_Run, ...]  # of literal text and ONE; its length is that of what it matches


def _runs(text: str, wildcards: bool, ignore_case: bool) -> list[_Run]:
    text = text.lower() if ignore_case else text
    if not wildcards:
        return [text] if text else []
    return [_Wildcard(run) if run in ("*", "?") else run for run in re.split(r"([*?])", text) if run]


def _between_stars(runs: Iterable[_Run]) -> list[_Segment]:
    segments: list[list[_Run]] = [[]]
    for run in runs:
        if run is _Wildcard.ANY:
            segments.append([])
        elif isinstance(run, str) and segments[-1] and isinstance(segments[-1][-1], str):
            segments[-1][-1] += run
        else:
            segments[-1].append(run)
    return [tuple(segment) for segment in segments]


def _matches(segments: list[_Segment], value: str) -> bool:
    """Whether a value is these segments with anything between them.

    Each is taken at the first place where it fits, which leaves the most for those behind it. So no place is tried
    twice for the same one: however many stars a policy has, and however long a name is, this ends soon.
    """
    first, last = segments[0], segments[-1]
    if len(segments) == 1:
        return len(value) == _length(first) and _fits(first, value, 0)
    end = len(value) - _length(last)
    at = _length(first)
    if end < at or not _fits(first, value, 0) or not _fits(last, value, end):
        return False
    for segment in segments[1:-1]:
        found = _find(segment, value, at, end)
        if found < 0:
            return False
        at = found + _length(segment)
    return True


def _length(segment: _Segment) -> int:
    return sum(len(run) if isinstance(run, str) else 1 for run in segment)


def _fits(segment: _Segment, value: str, at: int) -> bool:
    """Whether a segment is at that place; there is room for it."""
    for run in segment:
        if not isinstance(run, str):
            at += 1
        elif value.startswith(run, at):
            at += len(run)
        else:
            return False
    return True


def _find(segment: _Segment, value: str, start: int, end: int) -> int:
    """The first place of a segment in ``value[start:end]``; -1 if there is none."""
    if len(segment) == 1 and isinstance(segment[0], str):
        return value.find(segment[0], start, end)
    places = range(start, end - _length(segment) + 1)
    return next((at for at in places if _fits(segment, value, at)), -1)


def _resolved(match: re.Match[str], context: Context) -> str:
    name, default = match["name"], match["default"]
    if name in ("*", "?", "$"):  # the characters themselves
        return name
    values = context.get(name.lower())
    if values:
        return values[0]
    if default is None:
        raise Unresolved(name)
    return default


class ArnPattern:
    """An ARN of a policy, or ``*``. A wildcard matches inside of one part; in the last one, to its end."""

    def __init__(self, text: str, *, variables: bool = True) -> None:
        """Raises ValueError when the text is not an ARN."""
        parts = _COLON.split(text, ARN_PARTS - 1) if text != "*" else []
        if parts and (len(parts) < ARN_PARTS or parts[0] != "arn"):
            raise ValueError(f"must be * or an ARN, arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE, not {text!r}")
        self._parts = [TextPattern(part, variables=variables) for part in parts]

    def matches(self, value: str, context: Context) -> bool:
        """Raises Unresolved."""
        if not self._parts:
            return True
        parts = _parts(value)
        return len(parts) == ARN_PARTS and all(
            pattern.matches(part, context) for pattern, part in zip(self._parts, parts)
        )


@functools.lru_cache(1024)
def _parts(arn: str) -> list[str]:
    return arn.split(":", ARN_PARTS - 1)
