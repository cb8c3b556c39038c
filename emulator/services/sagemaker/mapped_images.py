"""Images in whose place something else runs: AWS's own, which cannot be pulled without an account. [ours]"""

from __future__ import annotations

import fnmatch
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from emulator.containers.launch import Program, Stub
from emulator.errors import SetupError
from emulator.jobs.training_definition import Algorithm, Script
from emulator.services.sagemaker.image import COMMAND, HANDLER, STUB, embedded_server, model_container, python_path
from emulator.suggestions import did_you_mean

SCRIPT = "script"  # or script:PYTHON
log = logging.getLogger("localmme")


@dataclass(frozen=True)
class MappedImage:
    """What runs in place of the images whose names match a pattern, in which * is any text."""

    pattern: str
    text: str  # as it was written
    runs: Program  # as the container of a model
    script: Script | None = None  # as that of a training job, if it is something else


class MappedImages:
    """The mappings of an emulator. The first that matches counts."""

    def __init__(self, mappings: Mapping[str, str], directory: Path) -> None:
        """From patterns to values of ``Image``, in which paths are relative to ``directory``.

        Raises SetupError, which begins with the pattern.
        """
        self._mapped = [_mapped(*mapping, directory) for mapping in mappings.items()]
        self._reported: set[str] = set()

    def __add__(self, other: MappedImages) -> MappedImages:
        both = MappedImages({}, Path())
        both._mapped = [*self._mapped, *other._mapped]
        return both

    def runs(self, image: str) -> Program | None:
        """What runs in place of an image as the container of a model; None = the image itself."""
        mapped = self._find(image)
        return mapped.runs if mapped else None

    def trains(self, image: str) -> Algorithm | None:
        """What runs in place of an image as the container of a training job; None = the image itself.

        Raises SetupError when a handler does.
        """
        mapped = self._find(image)
        if mapped is None:
            return None
        if isinstance(mapped.runs, Stub) or mapped.text.startswith(HANDLER):
            raise SetupError(f"is mapped to {mapped.text}, which does not train: map it to {SCRIPT} or {COMMAND}WORDS")
        return mapped.script or mapped.runs

    def report(self, image: str) -> None:
        """Log, once, what runs in place of an image."""
        mapped = self._find(image)
        if mapped is not None and image not in self._reported:
            self._reported.add(image)
            log.warning("Image %s: %s runs in its place, by the mapping of %s", image, mapped.text, mapped.pattern)

    def _find(self, image: str) -> MappedImage | None:
        return next((each for each in self._mapped if fnmatch.fnmatchcase(image, each.pattern)), None)


def _mapped(pattern: str, text: str, directory: Path) -> MappedImage:
    kind, _, rest = text.partition(":")
    if kind != SCRIPT:
        return MappedImage(pattern, text, _program(pattern, text, directory))
    try:
        python = python_path(rest, directory) if rest else None
    except SetupError as error:
        raise SetupError(f"{pattern}={text}: {error}") from None
    server = replace(embedded_server(None, python), image=text)
    return MappedImage(pattern, text, server, Script(Path(python or sys.executable)))


def _program(pattern: str, text: str, directory: Path) -> Program:
    kind, colon, rest = text.partition(":")
    known = [each.rstrip(":") for each in (HANDLER, COMMAND, STUB, SCRIPT)]
    # A tag has neither slashes nor the ending of a file.
    if colon and kind not in known and ("/" in rest or rest.endswith(".py")) and (advice := did_you_mean(kind, known)):
        raise SetupError(f"{pattern}: {kind}: is not a kind of container: {advice}")
    try:
        return model_container(text, directory)
    except SetupError as error:
        reason = str(error)
        raise SetupError(f"{pattern}: {reason}" if reason[:1].isupper() else f"{pattern} {reason}") from None


NO_MAPPED_IMAGES = MappedImages({}, Path())
