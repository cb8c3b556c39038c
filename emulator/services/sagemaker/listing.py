"""What the List operations have in common: filters, sorting, pages."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

from emulator.services.sagemaker.errors import bad_token
from emulator.services.sagemaker.registry import R

MAX_RESULTS = 10  # [api] without MaxResults, for ListEndpoints; [ours] for the others
Value = str | float


def page(
    records: Sequence[R], asked: dict[str, Any], status_of: Callable[[R], str] | None = None
) -> tuple[list[R], dict[str, Any]]:
    """One page of those that the filters let pass, and the answer's NextToken if there are more.

    Latest first unless told otherwise [api]. Raises ControlPlaneError for a NextToken that is none.
    """
    keys: dict[str, Callable[[R], Value]] = {
        "Name": lambda record: record.name.lower(),
        "CreationTime": lambda record: record.created,
        "Status": status_of or (lambda _: ""),
    }
    by = asked.get("SortBy", "CreationTime")
    key = keys[by]
    descending = asked.get("SortOrder", "Descending") == "Descending"
    passed = [record for record in records if _passes(record, asked, status_of)]
    ordered = sorted(passed, key=lambda record: (key(record), record.name.lower()), reverse=descending)
    if token := asked.get("NextToken"):
        last = _read(token, by)
        ordered = [each for each in ordered if _is_after((key(each), each.name.lower()), last, descending)]
    count = asked.get("MaxResults", MAX_RESULTS)
    shown = ordered[:count]
    if len(ordered) <= count:
        return shown, {}
    return shown, {"NextToken": _written(by, (key(shown[-1]), shown[-1].name.lower()))}


def _passes(record: R, asked: dict[str, Any], status_of: Callable[[R], str] | None) -> bool:
    ever = float("inf")
    return (
        asked.get("NameContains", "").lower() in record.name.lower()
        # [api] Of these bounds, CreationTimeAfter alone is inside of what it lets pass.
        and record.created < asked.get("CreationTimeBefore", ever)
        and record.created >= asked.get("CreationTimeAfter", -ever)
        and record.modified < asked.get("LastModifiedTimeBefore", ever)
        and record.modified > asked.get("LastModifiedTimeAfter", -ever)
        and (status_of is None or asked.get("StatusEquals") in (None, status_of(record)))
    )


def _is_after(place: tuple[Value, str], last: tuple[Value, str], descending: bool) -> bool:
    return place < last if descending else place > last


def _written(by: str, place: tuple[Value, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps((by, *place)).encode()).decode()


def _read(token: str, by: str) -> tuple[Value, str]:
    try:
        sorted_by, value, name = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError, RecursionError):
        raise bad_token() from None
    right_type = isinstance(value, float if by == "CreationTime" else str) and isinstance(name, str)
    if sorted_by != by or not right_type:
        raise bad_token()
    return value, name
