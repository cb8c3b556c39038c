"""Images in whose place something else runs: AWS's own, which cannot be pulled without an account. [ours]"""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emulator.containers.launch import Program
from emulator.errors import SetupError
from emulator.services.sagemaker.image import COMMAND, HANDLER, image_or_command
from emulator.suggestions import did_you_mean

log = logging.getLogger("localmme")


@dataclass(frozen=True)
class MappedImage:
    """What runs in place of the images whose names match a pattern, in which * is any text."""

    pattern: str
    text: str  # as it was written
    runs: Program


class MappedImages:
    """The mappings of an emulator. The first that matches counts."""

    def __init__(self, mappings: Mapping[str, str], directory: Path) -> None:
        """From patterns to values of ``Image``, in which paths are relative to ``directory``.

        Raises SetupError, which begins with the pattern.
        """
        self._mapped = [MappedImage(*mapping, _program(*mapping, directory)) for mapping in mappings.items()]
        self._reported: set[str] = set()

    def __add__(self, other: MappedImages) -> MappedImages:
        both = MappedImages({}, Path())
        both._mapped = [*self._mapped, *other._mapped]
        return both

    def runs(self, image: str) -> Program | None:
        """What runs in place of an image; None = the image itself."""
        mapped = self._find(image)
        return mapped.runs if mapped else None

    def report(self, image: str) -> None:
        """Log, once, what runs in place of an image."""
        mapped = self._find(image)
        if mapped is not None and image not in self._reported:
            self._reported.add(image)
            log.warning("Image %s: %s runs in its place, by the mapping of %s", image, mapped.text, mapped.pattern)

    def _find(self, image: str) -> MappedImage | None:
        return next((each for each in self._mapped if fnmatch.fnmatchcase(image, each.pattern)), None)


def _program(pattern: str, text: str, directory: Path) -> Program:
    kind, colon, rest = text.partition(":")
    known = [each.rstrip(":") for each in (HANDLER, COMMAND)]
    # A tag has neither slashes nor the ending of a file.
    if colon and kind not in known and ("/" in rest or rest.endswith(".py")) and (advice := did_you_mean(kind, known)):
        raise SetupError(f"{pattern}: {kind}: is not a kind of container: {advice}")
    try:
        return image_or_command(text, directory)
    except SetupError as error:
        reason = str(error)
        raise SetupError(f"{pattern}: {reason}" if reason[:1].isupper() else f"{pattern} {reason}") from None


NO_MAPPED_IMAGES = MappedImages({}, Path())
