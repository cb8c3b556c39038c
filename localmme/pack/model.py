"""A model that pack has recognized, and the entry point that it writes for it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ENTRY_POINT = "code/inference.py"
_TEMPLATES = Path(__file__).with_name("entry_points")


@dataclass(frozen=True)
class Model:
    """A model that was recognized.

    flavor: the name of its entry point's file in ``entry_points/``.
    description: what it is, for people.
    packages: what has to be installed where it is served, as far as that can be seen.
    constants: the constants of the entry point that have another value for this model.
    notes: what the user should know of it, in sentences.
    """

    flavor: str
    description: str
    packages: tuple[str, ...]
    constants: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def entry_point(self) -> bytes:
        """Its ``code/inference.py``."""
        text = (_TEMPLATES / f"{self.flavor}.py").read_text(encoding="utf-8")
        for name, value in self.constants.items():
            before, after = re.split(rf"^{name} = .*$", text, maxsplit=1, flags=re.MULTILINE)
            text = f"{before}{name} = {json.dumps(value, ensure_ascii=False)}{after}"
        return text.encode()
