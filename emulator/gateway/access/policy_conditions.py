"""The condition operators of a policy, over the condition keys of a request. [iam user guide]"""

from __future__ import annotations

import ipaddress
import operator
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, NamedTuple

from emulator.aws.permissions import Context
from emulator.gateway.access.patterns import ArnPattern, TextPattern, matches_any

# Says whether a request's value is like the policy's.
Like = Callable[[str, Context], bool]


class _Operator(NamedTuple):
    like: Callable[[str, bool], Like]  # of the policy's value, and whether variables are replaced in it
    negated: bool = False


def _text(wildcards: bool = False, ignore_case: bool = False) -> Callable[[str, bool], Like]:
    def like(wanted: str, variables: bool) -> Like:
        return TextPattern(wanted, wildcards=wildcards, variables=variables, ignore_case=ignore_case).matches

    return like


def _arn(wanted: str, variables: bool) -> Like:
    return ArnPattern(wanted, variables=variables).matches


def _boolean(wanted: str, variables: bool) -> Like:
    if wanted.lower() not in ("true", "false"):
        raise ValueError(f"must be true or false, not {wanted!r}")
    return lambda value, _: value.lower() == wanted.lower()


def _ordered(parse: Callable[[str], Any], compare: Callable[[Any, Any], bool]) -> Callable[[str, bool], Like]:
    def like(wanted: str, variables: bool) -> Like:
        bound = parse(wanted)

        def compared(value: str, context: Context) -> bool:
            try:
                return compare(parse(value), bound)
            except ValueError:
                return False

        return compared

    return like


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"must be a number, not {text!r}") from None


def _time(text: str) -> float:
    try:
        if text.isdecimal():
            return float(text)  # seconds since 1970
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"must be a time like 2030-01-31T12:00:00Z, not {text!r}") from None
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def _address(wanted: str, variables: bool) -> Like:
    try:
        network = ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        raise ValueError(f"must be an address or a range like 10.0.0.0/8, not {wanted!r}") from None

    def inside(value: str, context: Context) -> bool:
        try:
            return ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return inside


_COMPARISONS = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "LessThanEquals": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEquals": operator.ge,
}
OPERATORS: dict[str, _Operator] = {
    "StringEquals": _Operator(_text()),
    "StringNotEquals": _Operator(_text(), negated=True),
    "StringEqualsIgnoreCase": _Operator(_text(ignore_case=True)),
    "StringNotEqualsIgnoreCase": _Operator(_text(ignore_case=True), negated=True),
    "StringLike": _Operator(_text(wildcards=True)),
    "StringNotLike": _Operator(_text(wildcards=True), negated=True),
    "ArnEquals": _Operator(_arn),
    "ArnLike": _Operator(_arn),
    "ArnNotEquals": _Operator(_arn, negated=True),
    "ArnNotLike": _Operator(_arn, negated=True),
    "Bool": _Operator(_boolean),
    "IpAddress": _Operator(_address),
    "NotIpAddress": _Operator(_address, negated=True),
    "NumericNotEquals": _Operator(_ordered(_number, operator.eq), negated=True),
    "DateNotEquals": _Operator(_ordered(_time, operator.eq), negated=True),
    **{"Numeric" + name: _Operator(_ordered(_number, compare)) for name, compare in _COMPARISONS.items()},
    **{"Date" + name: _Operator(_ordered(_time, compare)) for name, compare in _COMPARISONS.items()},
}
NULL = "Null"
QUANTIFIERS = ("ForAllValues", "ForAnyValue")
NAMES = (*OPERATORS, NULL)


class Condition:
    """One operator, one condition key and the values it is compared with: one of them has to fit."""

    def __init__(self, spelt: str, key: str, wanted: list[str], *, variables: bool = True) -> None:
        """Raises KeyError when there is no such operator, ValueError when it cannot take one of the values."""
        quantifier, colon, name = spelt.rpartition(":")
        self._if_exists = name.endswith("IfExists")
        name = name.removesuffix("IfExists")
        if (colon and quantifier not in QUANTIFIERS) or (name == NULL and self._if_exists):
            raise KeyError(spelt)
        self._key = key.lower()
        self._quantifier = quantifier
        self._of_absence = name == NULL
        chosen = _Operator(_boolean) if self._of_absence else OPERATORS[name]
        self._negated = chosen.negated
        self._likes = [chosen.like(value, variables) for value in wanted]

    def holds(self, context: Context) -> bool:
        """Raises Unresolved."""
        values = context.get(self._key) or ()
        if self._of_absence:
            return self._fits("false" if values else "true", context)
        if not values:
            # A negated operator is true of what is not there.
            return self._if_exists or self._quantifier == "ForAllValues" or (self._negated and not self._quantifier)
        fits = (self._fits(value, context) for value in values)
        return all(fits) if self._quantifier == "ForAllValues" else any(fits)

    def _fits(self, value: str, context: Context) -> bool:
        return matches_any(self._likes, value, context, self._negated)
