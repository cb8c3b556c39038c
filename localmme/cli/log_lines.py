"""``localmme logs``: what an emulator and its containers wrote, and what they write now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from emulator.errors import SetupError
from emulator.state_directory import StateDirectory
from localmme import state_directories

FOLLOW_SECONDS = 0.2  # between two reads of the files


class Tail:
    """A file that grows, line by line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rest = b""

    def lines(self) -> Iterator[str]:
        """Lines that were completed since the last call."""
        while chunk := self._file.read(1024 * 1024):
            *complete, self._rest = (self._rest + chunk).split(b"\n")
            for line in complete:
                yield line.decode("utf-8", "replace")

    def close(self) -> Iterator[str]:
        """The text after the last line feed."""
        self._file.close()
        if self._rest:
            yield self._rest.decode("utf-8", "replace")


def lines(directory: StateDirectory, endpoint_name: str | None, part: str | None, follow: bool) -> Iterator[str]:
    """The lines of the emulator that uses that state directory, or of the last one that did.

    If it was detached and nothing is filtered, these are the lines of ``serve``, with those of containers in order of
    time; else those of the containers' files, each with its container's name if there are several. ``part`` is the
    name of a container, an instance, a variant or a job. With ``follow``, until the emulator ends.
    Raises SetupError when there is no such emulator, or it has no such endpoint or part.
    """
    if not directory.path.is_dir():
        raise SetupError(f"There is no emulator {directory.path.name}, and no log of one. {_those_with_logs()}")
    if part is not None or endpoint_name is not None:
        _refuse_unknown(directory, endpoint_name, part)
    tails: dict[str, Tail] = {}
    while True:
        lives = directory.is_in_use()  # before reading, so that its last lines are not missed
        for name, path in _files(directory, endpoint_name, part):
            if name not in tails:
                tails[name] = Tail(path.open("rb"))
        for name, tail in tails.items():
            for line in tail.lines():
                yield _labelled(name, line, len(tails))
        if not follow or not lives:
            break
        time.sleep(FOLLOW_SECONDS)
    for name, tail in tails.items():
        for line in tail.close():
            yield _labelled(name, line, len(tails))


def _files(directory: StateDirectory, endpoint_name: str | None, part: str | None) -> Iterator[tuple[str, Path]]:
    if endpoint_name is None and part is None and directory.serve_log.exists():
        yield "", directory.serve_log
        return
    for names, path in _container_files(directory):
        if endpoint_name in (None, names[0]) and (part is None or part in names[1:]):
            yield "/".join(names), path


def _container_files(directory: StateDirectory) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Each container's file, with the names of its endpoint, variant and instance and its own; or with the kind of its
    job (after an underscore), the job's name, and its own."""
    for path in sorted(directory.container_logs.rglob("*.log")):
        yield path.relative_to(directory.container_logs).with_suffix("").parts, path


def _refuse_unknown(directory: StateDirectory, endpoint_name: str | None, part: str | None) -> None:
    if any(_files(directory, endpoint_name, part)):
        return
    emulator, known = directory.path.name, [names for names, _ in _container_files(directory)]
    of_endpoint = [names for names in known if endpoint_name in (None, names[0])]
    if endpoint_name is not None and not of_endpoint:
        endpoints = ", ".join(dict.fromkeys(names[0] for names in known if not names[0].startswith("_"))) or "none"
        raise SetupError(f"Emulator {emulator} has no endpoint {endpoint_name}. It has: {endpoints}.")
    parts = ", ".join(dict.fromkeys(name for names in of_endpoint for name in reversed(names[1:]))) or "none"
    raise SetupError(
        f"Emulator {emulator} has no container, instance or variant {part}. It has: {parts}. "
        f"An emulator is named with --name. {_those_with_logs()}"
    )


def _those_with_logs() -> str:
    names = [directory.path.name for directory in state_directories.all_known() if directory.record() is not None]
    return f"There are logs of: {', '.join(names)}." if names else "There are no logs at all."


def _labelled(name: str, line: str, containers: int) -> str:
    return f"{name.removeprefix('_')} | {line}" if containers > 1 else line
