"""docs/events.md names every member of every entry, and of every line of recordings, in order."""

from __future__ import annotations

import re
from typing import get_type_hints

import pytest

from emulator import entries, recordings
from tests.support.repository import REPOSITORY

TYPES = (
    entries.EventEntry,
    entries.CallEntry,
    entries.LogEntry,
    recordings.RecordingLine,
    recordings.RecordedEndpoint,
    recordings.RecordedVariant,
    recordings.EndpointLine,
    recordings.LostLine,
)


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_the_members_are_documented(kind: type) -> None:
    text = (REPOSITORY / "docs" / "events.md").read_text("utf-8")
    table = text.partition(f"<!-- members: {kind.__name__} -->\n")[2].partition("\n\n")[0]
    documented = [name for row in table.splitlines()[2:] for name in re.findall("`(.*?)`", row.split("|")[1])]
    assert documented == list(get_type_hints(kind))
