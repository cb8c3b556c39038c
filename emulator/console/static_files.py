"""The files of the emulator's page: those of its package, each with its media type, and no others."""

from __future__ import annotations

import functools
from importlib import resources
from importlib.abc import Traversable
from pathlib import PurePosixPath
from typing import NamedTuple

PAGE = "index.html"
TOKEN_PLACE = '<meta name="localmme-token" content="">'  # in the page; its content becomes the token
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


class StaticFile(NamedTuple):
    media_type: str
    content: bytes


@functools.cache
def page() -> str:
    """The page, without its token."""
    return _directory().joinpath(PAGE).read_text(encoding="utf-8")


@functools.cache
def static_files() -> dict[str, StaticFile]:
    """All that the page loads, by path below its directory."""
    return dict(_found(_directory(), ""))


def _found(directory: Traversable, prefix: str) -> list[tuple[str, StaticFile]]:
    found = []
    for each in directory.iterdir():
        if each.is_dir():
            found += _found(each, f"{prefix}{each.name}/")
        elif media_type := MEDIA_TYPES.get(PurePosixPath(each.name).suffix):
            found.append((prefix + each.name, StaticFile(media_type, each.read_bytes())))
    return found


def _directory() -> Traversable:
    return resources.files("emulator.console").joinpath("static")
