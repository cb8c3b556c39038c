"""What ``localmme pack`` does, from its arguments to its exit code."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from emulator.errors import SetupError
from emulator.limits import Limits
from emulator.printable import printable
from emulator.sizes import format_size, parse_size
from emulator.suggestions import did_you_mean
from localmme.pack import report
from localmme.pack.contents import Contents, contents_of
from localmme.pack.flavors import FLAVORS, NONE
from localmme.pack.jobs import jobs_of
from localmme.pack.mistakes import Mistake
from localmme.pack.mlflow_model import download, is_uri
from localmme.pack.model import ENTRY_POINT
from localmme.pack.plan import Plan, plan_of
from localmme.pack.verifying import Verified, verify
from localmme.pack.writing import time_of_members, write


@dataclass(frozen=True)
class Options:
    """The options of the command: see localmme/cli/pack.py."""

    output: str | None
    handler: str | None
    flavor: str | None
    task: str | None
    as_one: bool
    show: bool
    list_only: bool
    verify_only: bool
    storage: str
    compressed: bool
    strict: bool
    as_json: bool

    def check(self) -> None:
        """Raises SetupError for options that exclude each other."""
        named = {"--show": self.show, "--list": self.list_only, "--verify": self.verify_only}
        chosen = [name for name, is_set in named.items() if is_set]
        if len(chosen) > 1:
            raise SetupError(f"{' and '.join(chosen)} exclude each other.")
        if chosen and self.output:
            raise SetupError("--output is for packing; --show, --list and --verify write nothing.")
        if self.verify_only and (self.handler or self.flavor or self.task or self.as_one):
            raise SetupError(
                "--handler, --flavor, --task and --as-one are for packing; --verify examines an archive as it is."
            )
        if self.handler and (self.flavor or self.task):
            option = "--flavor" if self.flavor else "--task"
            raise SetupError(f"--handler and {option} exclude each other: each says what code/inference.py is.")
        if self.flavor and self.flavor not in (known := (*FLAVORS, NONE)):
            question = did_you_mean(self.flavor, known) or f"there are {', '.join(known)}."
            raise SetupError(f"There is no flavor {self.flavor}: {question}")


@dataclass(frozen=True)
class Outcome:
    """What came of one source, as the value that --json prints."""

    code: int
    value: Any


def run(paths: Sequence[str], options: Options) -> int:
    """Pack, list, verify or show, and print the outcome. Returns the exit code: 0 = all was written, or works; 1 = the
    content of one does not work.

    Raises SetupError when that could not be tried.
    """
    options.check()
    max_bytes = parse_size(options.storage)
    with tempfile.TemporaryDirectory(prefix="localmme-pack-") as downloads:
        named = {path: _found(path, Path(downloads) / str(number)) for number, path in enumerate(paths)}
        outcomes = list(_outcomes(named, max_bytes, options))
    if options.as_json:
        values = [outcome.value for outcome in outcomes]
        click.echo(json.dumps(values[0] if len(values) == 1 else values, indent=2))
    return max(outcome.code for outcome in outcomes)


def _found(path: str, downloads: Path) -> Path:
    """The file or directory of a source. Raises SetupError when there is none."""
    if is_uri(path):
        return download(path, downloads)
    source = Path(path).expanduser()
    if not os.path.exists(source):
        raise SetupError(
            f"There is no file or directory {path}. pack takes directories and models' files, --list and --verify also "
            "archives."
        )
    return source


def _outcomes(named: Mapping[str, Path], max_bytes: int, options: Options) -> Iterator[Outcome]:
    archives = {name: path for name, path in named.items() if options.verify_only or _is_listed(path, options)}
    for path in archives.values():
        yield _verify(path, max_bytes, options) if options.verify_only else _list(path, max_bytes, options)
    sources = {name: path for name, path in named.items() if name not in archives}
    ask = _ask if _is_asked() and not options.as_json else None
    jobs = jobs_of(sources, options.output, as_one=options.as_one, ask=ask)
    # What can be wrong with the options is found before the first archive is written.
    plans = [plan_of(job, handler=options.handler, flavor=options.flavor, task=options.task) for job in jobs]
    for plan in plans:
        if options.show:
            yield _show(plan, several=len(plans) > 1)
        elif options.list_only:
            yield _list(plan.source, max_bytes, options, plan)
        else:
            yield _pack(plan, max_bytes, options)


def _is_asked() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(question: str) -> bool:
    return click.confirm(question, default=True, err=True)


def _is_listed(path: Path, options: Options) -> bool:
    """Whether a source is an archive whose files are to be listed."""
    return options.list_only and path.is_file() and path.name.endswith((".tar.gz", ".tgz"))


def _show(plan: Plan, *, several: bool) -> Outcome:
    """Print the entry point that would be written."""
    if plan.entry_point is None:
        raise SetupError(f"pack writes no {ENTRY_POINT} for {plan.source}: {plan.why_none}")
    if several:
        click.echo(f"# {printable(str(plan.source))}: {ENTRY_POINT}")
    click.echo(plan.entry_point.decode("utf-8", "replace"), nl=False)
    return Outcome(0, plan.entry_point.decode("utf-8", "replace"))


def _pack(plan: Plan, max_bytes: int, options: Options) -> Outcome:
    time_seconds = time_of_members(os.environ.get("SOURCE_DATE_EPOCH"))
    contents = _contents(plan, max_bytes)
    archive, size = plan.archive, None
    if not _failed(contents.mistakes, options.strict):
        with report.progress(f"Packing {archive.name}", contents.size_bytes) as progress:
            size = write(contents, archive, compressed=options.compressed, time_seconds=time_seconds, progress=progress)
    result = {
        "archive": str(archive) if size is not None else None,
        "size_bytes": size,
        "unpacked_bytes": contents.size_bytes,
        "entries": report.entries_as_json(contents.entries),
        "left_out": contents.left_out,
        "flavor": plan.model.flavor if plan.model else None,
        "notes": plan.notes,
        "findings": report.mistakes_as_json(contents.mistakes),
    }
    if not options.as_json:
        report.print_mistakes(contents.mistakes, err=True)
        if contents.left_out:
            report.print_left_out(contents.left_out)
        if size is not None:
            click.echo(f"{printable(str(archive))}: {format_size(size)}, of {report.totals(contents.entries)}.")
            for note in plan.notes:
                click.echo(f"  {printable(note)}")
    return Outcome(1 if size is None else 0, result)


def _list(source: Path, max_bytes: int, options: Options, plan: Plan | None = None) -> Outcome:
    examined: Contents | Verified = _contents(plan, max_bytes) if plan else _verified(source, max_bytes)
    if not options.as_json:
        report.print_entries(examined.entries)
    failed = [mistake for mistake in examined.mistakes if mistake.verdict == "fail"]  # a warning is for --verify
    report.print_mistakes(failed, err=True)
    return Outcome(1 if failed else 0, report.entries_as_json(examined.entries))


def _verify(archive: Path, max_bytes: int, options: Options) -> Outcome:
    if archive.is_dir():
        raise SetupError(f"{archive} is a directory. See what would be packed: localmme pack --list {archive}")
    verified = _verified(archive, max_bytes)
    works = not _failed(verified.mistakes, strict=False)
    result = {
        "archive": str(archive),
        "works": works,
        "size_bytes": verified.size_bytes,
        "unpacked_bytes": sum(entry.size_bytes for entry in verified.entries),
        "entries": report.entries_as_json(verified.entries),
        "findings": report.mistakes_as_json(verified.mistakes),
    }
    if not options.as_json:
        report.print_mistakes(verified.mistakes, err=False)
        outcome = "can be extracted" if works else "does not work"
        click.echo(f"{printable(str(archive))}: {outcome} ({report.totals(verified.entries)}).")
    return Outcome(1 if _failed(verified.mistakes, options.strict) else 0, result)


def _contents(plan: Plan, max_bytes: int) -> Contents:
    added = {} if plan.entry_point is None else {ENTRY_POINT: plan.entry_point}
    return contents_of(plan.source, max_bytes=max_bytes, max_files=Limits().archive_files, added=added)


def _verified(archive: Path, max_bytes: int) -> Verified:
    with report.progress(f"Reading {archive.name}", archive.stat().st_size) as progress:
        return verify(archive, max_bytes=max_bytes, max_files=Limits().archive_files, progress=progress)


def _failed(mistakes: list[Mistake], strict: bool) -> bool:
    return any(strict or mistake.verdict == "fail" for mistake in mistakes)
