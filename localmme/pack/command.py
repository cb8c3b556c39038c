"""What ``localmme pack`` does, from its arguments to its exit code.

Exit codes: 0 = the archive was written, or works; 1 = its content does not work; 2 = localmme could not try.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import click

from emulator.errors import SetupError
from emulator.limits import Limits
from emulator.printable import printable, printable_lines
from emulator.sizes import format_size, parse_size
from localmme.pack import report
from localmme.pack.contents import Contents, contents_of
from localmme.pack.mistakes import Mistake
from localmme.pack.verifying import Verified, verify
from localmme.pack.writing import time_of_members, write


def run(
    path: str,
    output: str | None,
    *,
    list_only: bool,
    verify_only: bool,
    storage: str,
    compressed: bool,
    strict: bool,
    as_json: bool,
) -> int:
    """Pack, list or verify, and print the outcome. Returns the exit code."""
    # As Ctrl-C does: the unfinished archive is deleted before the process ends.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    try:
        if list_only and verify_only:
            raise SetupError("--list and --verify exclude each other.")
        if (list_only or verify_only) and output:
            raise SetupError("--output is for packing; --list and --verify write nothing.")
        max_bytes = parse_size(storage)
        source = Path(path).expanduser()
        if not os.path.exists(source):
            raise SetupError(
                f"There is no file or directory {path}. pack takes a directory, --list and --verify also an archive."
            )
        if list_only:
            return _list(source, max_bytes, as_json)
        if verify_only:
            return _verify(source, max_bytes, strict, as_json)
        return _pack(source, output, max_bytes, compressed, strict, as_json)
    except SetupError as error:
        click.echo(f"Error: {printable_lines(str(error))}", err=True)
        return 2


def _pack(directory: Path, output: str | None, max_bytes: int, compressed: bool, strict: bool, as_json: bool) -> int:
    if not directory.is_dir():
        raise SetupError(f"{directory} is not a directory. To look into an archive: localmme pack --verify {directory}")
    archive = Path(output).expanduser() if output else Path(f"{directory.resolve().name or 'model'}.tar.gz")
    _check_output(archive, directory)
    time_seconds = time_of_members(os.environ.get("SOURCE_DATE_EPOCH"))
    contents = _contents(directory, max_bytes)
    size = None
    if not _failed(contents.mistakes, strict):
        with report.progress(f"Packing {archive.name}", contents.size_bytes) as progress:
            size = write(
                directory,
                contents.entries,
                archive,
                compressed=compressed,
                time_seconds=time_seconds,
                progress=progress,
            )
    if as_json:
        result = {
            "archive": str(archive) if size is not None else None,
            "size_bytes": size,
            "unpacked_bytes": contents.size_bytes,
            "entries": report.entries_as_json(contents.entries),
            "left_out": contents.left_out,
            "findings": report.mistakes_as_json(contents.mistakes),
        }
        click.echo(json.dumps(result, indent=2))
    else:
        report.print_mistakes(contents.mistakes, err=True)
        if contents.left_out:
            report.print_left_out(contents.left_out)
        if size is not None:
            click.echo(f"{printable(str(archive))}: {format_size(size)}, of {report.totals(contents.entries)}.")
    return 1 if size is None else 0


def _check_output(archive: Path, directory: Path) -> None:
    """Raises SetupError when the archive cannot be written there, or would become a part of itself the next time."""
    if archive.is_dir():
        raise SetupError(f"{archive} is a directory. Name the archive: -o {archive / 'name.tar.gz'}")
    if not archive.name.endswith(".tar.gz"):
        raise SetupError(f"SageMaker takes archives named .tar.gz, not {archive.name}. Name it -o {archive}.tar.gz")
    if not archive.parent.is_dir():
        raise SetupError(f"There is no directory {archive.parent}. Make it: mkdir -p {archive.parent}")
    if archive.parent.resolve().is_relative_to(directory.resolve()):
        raise SetupError(
            f"{archive} is in the directory that is packed, and would become a part of it. "
            "Name another place with -o, such as -o ../name.tar.gz"
        )


def _list(source: Path, max_bytes: int, as_json: bool) -> int:
    if source.is_dir():
        examined: Contents | Verified = _contents(source, max_bytes)
    else:
        examined = _verified(source, max_bytes)
    if as_json:
        click.echo(json.dumps(report.entries_as_json(examined.entries), indent=2))
    else:
        report.print_entries(examined.entries)
    failed = [mistake for mistake in examined.mistakes if mistake.verdict == "fail"]  # a warning is for --verify
    report.print_mistakes(failed, err=True)
    return 1 if failed else 0


def _verify(archive: Path, max_bytes: int, strict: bool, as_json: bool) -> int:
    if archive.is_dir():
        raise SetupError(f"{archive} is a directory. See what would be packed: localmme pack --list {archive}")
    verified = _verified(archive, max_bytes)
    works = not _failed(verified.mistakes, strict=False)
    if as_json:
        result = {
            "archive": str(archive),
            "works": works,
            "size_bytes": verified.size_bytes,
            "unpacked_bytes": sum(entry.size_bytes for entry in verified.entries),
            "entries": report.entries_as_json(verified.entries),
            "findings": report.mistakes_as_json(verified.mistakes),
        }
        click.echo(json.dumps(result, indent=2))
    else:
        report.print_mistakes(verified.mistakes, err=False)
        outcome = "can be extracted" if works else "does not work"
        click.echo(f"{printable(str(archive))}: {outcome} ({report.totals(verified.entries)}).")
    return 1 if _failed(verified.mistakes, strict) else 0


def _contents(directory: Path, max_bytes: int) -> Contents:
    return contents_of(directory, max_bytes=max_bytes, max_files=Limits().archive_files)


def _verified(archive: Path, max_bytes: int) -> Verified:
    with report.progress(f"Reading {archive.name}", archive.stat().st_size) as progress:
        return verify(archive, max_bytes=max_bytes, max_files=Limits().archive_files, progress=progress)


def _failed(mistakes: list[Mistake], strict: bool) -> bool:
    return any(strict or mistake.verdict == "fail" for mistake in mistakes)
