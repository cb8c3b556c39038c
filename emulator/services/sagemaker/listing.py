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
    records: Sequence[R], request: dict[str, Any], status_of: Callable[[R], str] | None = None
) -> tuple[list[R], dict[str, Any]]:
    """One page of the records that match the request's filters, and the answer's NextToken if there are more.

    Without SortBy and SortOrder, the latest come first [api]. Raises AwsError when NextToken is invalid.
    """
    keys: dict[str, Callable[[R], Value]] = {
        "Name": lambda record: record.name.lower(),
        "CreationTime": lambda record: record.created,
        "Status": status_of or (lambda _: ""),
    }
    sort_by = request.get("SortBy", "CreationTime")
    key = keys[sort_by]
    descending = request.get("SortOrder", "Descending") == "Descending"
    matching = [record for record in records if _matches(record, request, status_of)]
    ordered = sorted(matching, key=lambda record: (key(record), record.name.lower()), reverse=descending)
    if token := request.get("NextToken"):
        last = _last_listed(token, sort_by)
        ordered = [each for each in ordered if _is_after((key(each), each.name.lower()), last, descending)]
    count = request.get("MaxResults", MAX_RESULTS)
    listed = ordered[:count]
    if len(ordered) <= count:
        return listed, {}
    return listed, {"NextToken": _next_token(sort_by, (key(listed[-1]), listed[-1].name.lower()))}


def _matches(record: R, request: dict[str, Any], status_of: Callable[[R], str] | None) -> bool:
    ever = float("inf")
    return (
        request.get("NameContains", "").lower() in record.name.lower()
        # [api] CreationTimeAfter is inclusive; the other bounds are exclusive.
        and record.created < request.get("CreationTimeBefore", ever)
        and record.created >= request.get("CreationTimeAfter", -ever)
        and record.modified < request.get("LastModifiedTimeBefore", ever)
        and record.modified > request.get("LastModifiedTimeAfter", -ever)
        and (status_of is None or request.get("StatusEquals") in (None, status_of(record)))
    )


def _is_after(position: tuple[Value, str], last: tuple[Value, str], descending: bool) -> bool:
    return position < last if descending else position > last


def _next_token(sort_by: str, last: tuple[Value, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps((sort_by, *last)).encode()).decode()


def _last_listed(token: str, sort_by: str) -> tuple[Value, str]:
    """The sort key and the name of the last record before the page. Raises AwsError for an invalid token."""
    try:
        sorted_by, value, name = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError, RecursionError):
        raise bad_token() from None
    right_type = isinstance(value, float if sort_by == "CreationTime" else str) and isinstance(name, str)
    if sorted_by != sort_by or not right_type:
        raise bad_token()
    return value, name
