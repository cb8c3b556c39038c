"""What policies compare with: text with wildcards and policy variables, and ARNs, part by part. [iam user guide]"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping

Context = Mapping[str, tuple[str, ...]]  # a request's condition keys, in lower case, and their values

ARN_PARTS = 6  # arn:partition:service:region:account:resource, which may have further colons
_VARIABLE = re.compile(r"\$\{\s*(?P<name>[^{},']+?)\s*(?:,\s*'(?P<default>[^']*)'\s*)?\}")
_COLON = re.compile(r":(?![^{]*\})")  # not one of a variable's name


class Unresolved(Exception):
    """A policy variable stands for a condition key that this request does not have."""


def matches_any(
    likes: Iterable[Callable[[str, Context], bool]], value: str, context: Context, negated: bool = False
) -> bool:
    """Whether one of these says that the value is like it; ``negated``: whether none does.

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


class Text:
    """A text of a policy. ``*`` and ``?`` match, ``${key}`` and ``${key, 'default'}`` are replaced, where asked for.

    What a variable stands for is taken literally: a tag of ``*`` gives access to nothing.
    """

    def __init__(self, text: str, *, wildcards: bool = True, variables: bool = True, ignore_case: bool = False) -> None:
        self._text = text
        self._wildcards = wildcards
        self._flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
        self._names = [match["name"] for match in _VARIABLE.finditer(text)] if variables else []
        self._variables = variables
        self._fixed = None if self._names else re.compile(self._pattern({}), self._flags)

    def matches(self, value: str, context: Context) -> bool:
        """Raises Unresolved."""
        if self._fixed is not None:
            return self._fixed.fullmatch(value) is not None
        return re.fullmatch(self._pattern(context), value, self._flags) is not None

    def _pattern(self, context: Context) -> str:
        if not self._variables:
            return self._literal(self._text)
        pattern, end = "", 0
        for match in _VARIABLE.finditer(self._text):
            pattern += self._literal(self._text[end : match.start()]) + re.escape(_resolved(match, context))
            end = match.end()
        return pattern + self._literal(self._text[end:])

    def _literal(self, text: str) -> str:
        escaped = re.escape(text)
        return escaped.replace(r"\*", ".*").replace(r"\?", ".") if self._wildcards else escaped


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


class Arn:
    """An ARN of a policy, or ``*``. A wildcard matches inside of one part; in the last one, to its end."""

    def __init__(self, text: str, *, variables: bool = True) -> None:
        """Raises ValueError when it has not the form of an ARN."""
        parts = _COLON.split(text, ARN_PARTS - 1) if text != "*" else []
        if parts and (len(parts) < ARN_PARTS or parts[0] != "arn"):
            raise ValueError(f"must be * or an ARN, arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE, not {text!r}")
        self._parts = [Text(part, variables=variables) for part in parts]

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
