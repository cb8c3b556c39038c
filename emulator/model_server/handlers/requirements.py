"""A model's requirements.txt: where it is, what it names, and whether this process runs where it has been installed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

FILES = ("code/requirements.txt", "requirements.txt")  # in a model's directory, the first first
# In an environment that was made of such a file: its text. Without it, the environment is incomplete.
INSTALLED = "localmme-requirements.txt"
_NAME = r"([A-Za-z0-9][A-Za-z0-9._-]*)"
_NAMED = re.compile(rf"{_NAME}\s*(?:\[[^]]*\]\s*)?(?:(@)|(?=$|[;,<>=!~(\s]))")  # before a version or a location
_EGG = re.compile(rf"[#&]egg={_NAME}")  # in the URL of a repository
_EDITABLE = re.compile(r"(-e|--editable)[\s=]+")
_CREDENTIALS = re.compile(r"(https?://)[^/\s@]*@")
_ARCHIVES = (".whl", ".tar.gz", ".zip")
_COMMENT = re.compile(rb"(^|\s)#.*")
_LIST = re.compile(rb"\s*(-[rc]|--requirement|--constraint)")  # a line that names another list
_WORDS = re.compile(rb"[\s=@;,'\"\[\]#]+")
_BLOCK_BYTES = 1 << 20


def listed(model_dir: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each requirements.txt of a model, and the packages in it: by name, what pip installs them by (a name or a URL).

    A package of which the file has only a location without its name is left out; so are credentials in URLs.
    """
    for file in FILES:
        with (
            contextlib.suppress(OSError),
            open(os.path.join(model_dir, file), encoding="utf-8-sig", errors="replace") as lines,
        ):
            yield file, dict(found for line in lines if (found := _package(line)))


def _package(line: str) -> tuple[str, str] | None:
    """A package's name, and what pip installs it by; None if a line has none."""
    requirement = _EDITABLE.sub("", re.sub(r"(^|\s)#.*", "", line).strip(), count=1)
    requirement = _CREDENTIALS.sub(r"\1***@", requirement)
    file = requirement.partition("#")[0].rpartition("/")[2]
    if (named := _NAMED.match(requirement)) and not named[1].endswith(_ARCHIVES):
        return named[1], requirement.partition(";")[0].strip() if named[2] else named[1]
    if egg := _EGG.search(requirement):
        name = egg[1]
    elif file.endswith(".whl"):
        name = file.partition("-")[0]
    elif file.endswith(_ARCHIVES):
        name = file.rpartition("-")[0]
    else:
        return None
    return (name, requirement if "://" in requirement else name) if name else None


def to_install(model_dir: str) -> str | None:
    """The requirements.txt that is installed for a model, as a path below its directory; None if it has none."""
    return next((file for file in FILES if os.path.isfile(os.path.join(model_dir, file))), None)


def are_installed(environment: str = sys.prefix) -> bool:
    """Whether an environment was made of a requirements.txt, and is complete. That of this process by default."""
    return os.path.exists(os.path.join(environment, INSTALLED))


def fingerprint(file: str, *more: str) -> str:
    """What the environment of a requirements.txt depends on, as a name: the file, and ``more`` texts.

    So do the files beside it that it names: other lists, wheels, directories with packages. Raises OSError.
    """
    digest = hashlib.sha256("\0".join(more).encode())
    directory = os.path.realpath(os.path.dirname(file))
    lists = [os.path.realpath(file)]
    files = set(lists)
    for path in lists:  # which grows meanwhile
        with open(path, "rb") as lines:
            for line in lines:
                requirement = _COMMENT.sub(b"", line)
                option = _LIST.match(requirement)
                for word in _WORDS.split(requirement[option.end() if option else 0 :]):
                    new = set(_files_at(os.fsdecode(word), path, directory)) - files
                    files |= new
                    lists += new if option else ()
    for path in sorted(files):
        digest.update(os.fsencode(os.path.relpath(path, directory)) + b"\0" + _digest(path))
    return digest.hexdigest()[:24]


def _digest(path: str) -> bytes:
    digest = hashlib.sha256()
    with open(path, "rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.digest()


def _files_at(word: str, path: str, directory: str) -> list[str]:
    """The files of ``directory`` that a word in the file ``path`` names: a file, or all below a directory."""
    if not word or os.path.isabs(word) or "\0" in word:
        return []
    found = os.path.realpath(os.path.join(os.path.dirname(path), word))
    if os.path.commonpath((found, directory)) != directory:
        return []
    if os.path.isfile(found):
        return [found]
    return [str(file) for file in Path(found).rglob("*") if file.is_file()] if os.path.isdir(found) else []
