"""Reads a request's JSON, and refuses what another parser could read in another way.

Whoever authorises a request and whoever executes it must see the same: of ``{"ModelName": "a", "ModelName": null}``
one parser takes the first name and another one the last.
"""

from __future__ import annotations

import json
from typing import Any

from emulator.aws.errors import not_serializable

MOST_LEVELS = 100  # [ours] of lists and objects in each other; no operation has a tenth of that


def parsed(body: bytes) -> Any:
    """The document in a body. A member that is null counts as missing. Raises SerializationException."""
    try:
        document = json.loads(body or b"{}", object_pairs_hook=_members)
        # Half of a surrogate pair, which JSON can escape, is in no text that can be kept or handed on.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise not_serializable("The request is not JSON") from None
    if _levels(document) > MOST_LEVELS:
        raise not_serializable(f"The request has more than {MOST_LEVELS} levels")
    return document


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in members if names.count(name) > 1)
        raise not_serializable(f"The request has the member {twice[:100]} more than once in one object")
    return {name: value for name, value in pairs if value is not None}


def _levels(document: Any) -> int:
    levels, level = 0, [document]
    while level := [each for each in level if isinstance(each, (dict, list))]:
        levels += 1
        level = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
    return levels
