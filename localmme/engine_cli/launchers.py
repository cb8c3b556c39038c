"""Writes the launchers: tiny programs in the emulator's state directory, which ``localmme env`` puts on the PATH."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from pathlib import Path

from emulator.errors import SetupError
from emulator.private_files import private_directory
from emulator.state_directory import StateDirectory

NAMES = ("docker", "podman", "finch")
# A directory of the user's must not come first on the import path, as with -m: it may hold a queue.py.
PROGRAM = (
    "import sys; sys.path = [*filter(None, sys.path), sys.argv.pop(1)]; from localmme.engine_cli.program import main; "
    "main()"
)
# Of this shell's own words alone, so that what is not for ECR costs a millisecond. The real program is the next one on
# the PATH: of two emulators' launchers, each looks behind itself, so they do not call each other for ever.
LAUNCHER = """\
#!/bin/sh
# Answers login, push, pull, build --push for the emulator's ECR; the next {name} on the PATH does all else. [localmme]
words=" $* " own=${{0%/*}} name=${{0##*/}} real= ecr= rest=":$PATH:"
set -f
IFS=:
for directory in ${{rest##*":$own:"}}; do
    if [ -f "$directory/$name" ] && [ -x "$directory/$name" ]; then real=$directory/$name && break; fi
done
unset IFS
case $words in
*" login "*.dkr[.-]ecr*|*" push "*.dkr[.-]ecr*|*" pull "*.dkr[.-]ecr*) ecr=true ;;
*" build "*.dkr[.-]ecr*) case $words in *" --push"*|*type=registry*|*push=true*) ecr=true ;; esac ;;
esac
if [ -n "$ecr" ] && [ -x {python} ]; then exec {python} -c {program} {root} "$own" "$name" "$real" "$@"; fi
if [ -n "$real" ]; then exec "$real" "$@"; fi
echo "$name: command not found" >&2
echo "localmme answers for ECR only: install $name, or put its directory on the PATH." >&2
exit 127
"""


def write(directory: StateDirectory) -> Path | None:
    """The directory of the launchers, which is private, and is removed with the state directory.

    None if there is none (any more) to write to: then the user's own commands are the only ones.
    """
    if not directory.path.is_dir():
        return None
    with contextlib.suppress(OSError, SetupError):
        private_directory(directory.commands)
        for name in NAMES:
            _write(directory.commands / name)
        return directory.commands
    return None


def _write(path: Path) -> None:
    text = LAUNCHER.format(
        name=path.name,
        python=shlex.quote(sys.executable),
        program=shlex.quote(PROGRAM),
        root=shlex.quote(str(Path(__file__).parents[2])),
    )
    if path.is_file() and path.read_text() == text:
        return
    hidden = path.with_name(f".{path.name}-{os.getpid()}")  # a shell may be reading the one that is there
    descriptor = os.open(hidden, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o700)
    with open(descriptor, "w") as file:
        file.write(text)
    hidden.rename(path)
