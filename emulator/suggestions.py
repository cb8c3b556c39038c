"""Did you mean: finds the known names to which a mistyped one is similar, and makes the question of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_SUGGESTED = 3
SIMILARITY = 0.7  # difflib's ratio, from 0 to 1, below which names are not similar


def similar_names(name: str, known: Iterable[str], similarity: float = SIMILARITY) -> list[str]:
    """Up to three known names, the most similar first; only one, where it differs in case alone."""
    by_lower_case = {each.lower(): each for each in known}
    wanted = name.lower()
    if wanted in by_lower_case:
        return [by_lower_case[wanted]]
    found = difflib.get_close_matches(wanted, by_lower_case, n=MOST_SUGGESTED, cutoff=similarity)
    return [by_lower_case[each] for each in found]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``did you mean this or that?``; empty where no known name is similar."""
    names = similar_names(name, known)
    return f"did you mean {' or '.join(names)}?" if names else ""
