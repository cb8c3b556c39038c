"""Prints an archive's entries, its mistakes, and the progress of packing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click

from emulator.printable import printable
from emulator.sizes import format_size
from localmme.pack.entry import ArchiveEntry
from localmme.pack.mistakes import Mistake, first_names


def print_entries(entries: Sequence[ArchiveEntry]) -> None:
    """A table for people; plain text in a pipe."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("name", overflow="fold")
    table.add_column("size", justify="right")
    for entry in entries:
        name = printable(entry.name) + ("/" if entry.kind == "directory" else "")
        if entry.target:
            name += f" -> {printable(entry.target)}"
        size = format_size(entry.size_bytes) if entry.kind == "file" else entry.kind
        table.add_row(Text(name), "" if entry.kind == "directory" else size)
    # A pipe has no width to fit into.
    console = Console(width=None if sys.stdout.isatty() else 500)
    if entries:
        console.print(table)
    click.echo(totals(entries))


def entries_as_json(entries: Sequence[ArchiveEntry]) -> list[dict[str, Any]]:
    """A dictionary for each entry; only links have ``target``."""
    return [
        {"name": entry.name, "kind": entry.kind, "size_bytes": entry.size_bytes}
        | ({"target": entry.target} if entry.target else {})
        for entry in entries
    ]


def totals(entries: Sequence[ArchiveEntry]) -> str:
    """The number of files and their total size, in words."""
    count = sum(entry.kind != "directory" for entry in entries)
    return f"{count} {'file' if count == 1 else 'files'}, {format_size(sum(entry.size_bytes for entry in entries))}"


def print_mistakes(mistakes: Sequence[Mistake], *, err: bool) -> None:
    """A line for each mistake: verdict, name, what is wrong, what to do."""
    for mistake in mistakes:
        click.echo(printable(f"{mistake.verdict}: {mistake.name}: {mistake.detail} {mistake.remedy}"), err=err)


def print_left_out(names: Sequence[str]) -> None:
    """The paths that were not packed."""
    click.echo(printable(f"Left out: {first_names(names)}."), err=True)


def mistakes_as_json(mistakes: Sequence[Mistake]) -> list[dict[str, str]]:
    """A dictionary for each mistake."""
    return [asdict(mistake) for mistake in mistakes]


@contextmanager
def progress(text: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A progress bar, in a terminal only. Call what it yields with the number of further bytes that are done."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(True), TransferSpeedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=total_bytes)
        yield lambda count: bar.advance(task, count)
