"""Files that are no part of a model, though they are beside its own: macOS's metadata, and what Python has compiled."""

from __future__ import annotations

MACOS_NAMES = (".DS_Store", "__MACOSX")


def is_macos_metadata(name: str) -> bool:
    """Whether a path is metadata that macOS adds beside a person's own files."""
    return any(step in MACOS_NAMES or step.startswith("._") for step in name.split("/"))


def is_left_out(name: str, *, is_directory: bool) -> bool:
    """Whether a path below a model's directory is not put into an archive."""
    return is_macos_metadata(name) or (is_directory and name.rpartition("/")[2] == "__pycache__")
