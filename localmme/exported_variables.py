"""What was exported to an environment, and how to take it back, whatever has been set there since."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

RECORD = "LOCALMME_EXPORTED"  # the variable in which a shell keeps what was exported to it
# Variables that are lists, of which only entries are ours, with what is between these.
SEPARATORS = {
    "PATH": os.pathsep,
    "PYTHONPATH": os.pathsep,
    "BOTOCORE_EXPERIMENTAL__PLUGINS": ",",
    "no_proxy": ",",
    "NO_PROXY": ",",
}


@dataclass(frozen=True)
class Exported:
    """Variables with the values that they got and had; None = it was not set. Of lists, the entries that they got."""

    values: Mapping[str, tuple[str, str | None]]
    entries: Mapping[str, list[str]]

    @classmethod
    def to(cls, environment: Mapping[str, str], variables: Mapping[str, str]) -> Exported:
        """What exporting these variables changes."""
        values, entries = {}, {}
        for name, value in variables.items():
            before = environment.get(name)
            if name in SEPARATORS:
                entries[name] = [each for each in _split(name, value) if each not in _split(name, before)]
            elif before != value:
                values[name] = (value, before)
        return cls(values, entries)

    @classmethod
    def recorded_in(cls, environment: Mapping[str, str]) -> Exported:
        """What was exported, by the record in the environment; nothing without one that can be read."""
        try:
            found = json.loads(environment[RECORD])
            return cls({name: (value, before) for name, (value, before) in found["values"].items()}, found["entries"])
        except (KeyError, ValueError, TypeError, AttributeError):
            return cls({}, {})

    def after(self, earlier: Exported) -> Exported:
        """Both as one: a value that ``earlier`` has replaced is the one to go back to."""
        values = dict(earlier.values)
        for name, (value, before) in self.values.items():
            known = earlier.values.get(name)
            values[name] = (value, known[1] if known and known[0] == before else before)
        names = {**earlier.entries, **self.entries}
        entries = {name: [*self.entries.get(name, ()), *earlier.entries.get(name, ())] for name in names}
        return Exported(values, entries)

    def record(self) -> str:
        """The value of the variable ``RECORD``."""
        return json.dumps({"values": self.values, "entries": self.entries})

    def taken_back(self, environment: Mapping[str, str]) -> dict[str, str | None]:
        """The variables to set, or to unset (None). What has been set to something else since stays."""
        back = {name: before for name, (value, before) in self.values.items() if environment.get(name) == value}
        for name, ours in self.entries.items():
            there = environment.get(name)
            rest = [each for each in _split(name, there) if each not in ours]
            if there is not None and rest != _split(name, there):
                back[name] = SEPARATORS[name].join(rest) or None
        return back


def _split(name: str, value: str | None) -> list[str]:
    return value.split(SEPARATORS[name]) if value else []
