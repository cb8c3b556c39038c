"""``localmme trace``: reads recordings, and prints what they show."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import click

from emulator.printable import printable
from emulator.recordings import Line
from emulator.sizes import format_size
from localmme.pack.report import progress
from localmme.tables import Table, fitting, rich_table
from localmme.trace.reading import files_of, read_file
from localmme.trace.summary import ModelSummary, Percentiles, Summary, TraceSummary

SHOWN_MODELS = 20
CSV_HEADER = ("timestamp", "target_model")


def summarise(names: Iterable[Path]) -> TraceSummary:
    """The summary of these recordings. Raises SetupError for what is no recording."""
    summary = Summary()
    for line in _lines(files_of(names), summary.torn_files):
        summary.add(line)
    return summary.result()


def write_csv(names: Iterable[Path]) -> None:
    """Print when which model was called: seconds since 1970, in the order in which the calls ended."""
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(CSV_HEADER)
    torn: list[str] = []
    for line in _lines(files_of(names), torn):
        if line["type"] == "call" and line["target_model"]:
            rows.writerow((f"{line['time']:.6f}", line["target_model"]))
    for name in torn:
        click.echo(_torn(name), err=True)


def print_summary(summary: TraceSummary) -> None:
    """Lines and tables for people; plain text in a pipe."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 500)
    for line in _lines_of(summary):
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
    for table in _tables_of(summary):
        console.print(rich_table(fitting(table, console.width)[0]))
    if (more := len(summary["models"]) - SHOWN_MODELS) > 0:
        console.print(f"and {more} more models: --json has all.", highlight=False)
    for name in summary["torn_files"]:
        click.echo(_torn(name), err=True)
    if summary["lost_entries"]:
        click.echo(f"Warning: {summary['lost_entries']} entries could not be recorded.", err=True)


def print_json(summary: TraceSummary) -> None:
    click.echo(json.dumps(summary, indent=2))


def _lines(files: list[Path], torn: list[str]) -> Iterator[Line]:
    with progress("Reading", sum(file.stat().st_size for file in files)) as advance:
        for file in files:
            done = 0

            def report(bytes_read: int) -> None:
                nonlocal done
                advance(bytes_read - done)
                done = bytes_read

            yield from read_file(file, report, lambda path: torn.append(str(path)))


def _torn(name: str) -> str:
    return printable(f"Note: the end of {name} is torn, as after a crash: it was read up to its last whole line.")


def _lines_of(summary: TraceSummary) -> Iterator[str]:
    if summary["first"] is None:
        yield "Nothing has happened in this recording."
        return
    began = _time(summary["first"])
    yield f"Recorded  {_duration(summary['duration_seconds'])} from {began}, {_count(summary['calls'], 'call')}"
    for endpoint in summary["endpoints"]:
        for variant in endpoint["variants"]:
            kind = f" {variant['instance_type']}" if variant["instance_type"] else ""
            yield (
                f"Endpoint  {endpoint['endpoint_name']}/{variant['variant_name']}: "
                f"{_count(variant['instance_count'], 'instance')}{kind} with {format_size(variant['memory_bytes'])} "
                f"of memory and {format_size(variant['storage_bytes'])} of disk"
            )
    if summary["hit_ratio"] is not None:
        yield f"Hit ratio {summary['hit_ratio']:.1%}, {_count(summary['cold_starts'], 'cold start')}"
    if busiest := summary["busiest_minute"]:
        yield f"Busiest   {_count(busiest['calls'], 'call')} in the minute from {_time(busiest['time'])}"
    yield f"Evictions {summary['evictions']}"
    for reason, count in summary["unload_reasons"].items():
        yield f"          {count} unloaded: {reason}"
    for code, count in summary["errors"].items():
        yield f"Errors    {count} {code}"
    for variant_ in summary["what_if"]:
        name = f"{variant_['endpoint_name']}/{variant_['variant_name']}"
        points = ", ".join(
            f"{point['memory_factor']:g} x: {'-' if point['hit_ratio'] is None else format(point['hit_ratio'], '.1%')}"
            for point in variant_["points"]
        )
        yield f"What if   {name} had other memory, hit ratio: {points or variant_['reason']}"


def _tables_of(summary: TraceSummary) -> Iterator[Table]:
    if not summary["calls"]:
        return
    rows = [_times("warm", summary["warm"]), _times("cold", summary["cold"])]
    rows += [_times(f"  {name}", times) for name, times in summary["cold_steps"].items()]
    yield Table("Calls that went well", ("", "count", "mean", "p50", "p90", "p99"), rows)
    models = [_model(model) for model in summary["models"][:SHOWN_MODELS]]
    columns = ("target model", "calls", "cold", "errors", "loads", "evicted", "failed", "size", "memory", "load")
    yield Table("Models", columns, models)


def _times(name: str, times: Percentiles) -> list[str]:
    return [name, str(times["count"]), *map(_ms, (times["mean_us"], times["p50_us"], times["p90_us"], times["p99_us"]))]


def _model(model: ModelSummary) -> list[str]:
    return [
        model["target_model"],
        *(str(model[name]) for name in ("calls", "cold_starts", "errors", "loads", "evictions", "failed_loads")),
        _size(model["unpacked_bytes"]),
        _size(model["memory_bytes"]),
        _ms(None if model["load_seconds"] is None else model["load_seconds"] * 1e6),
    ]


def _size(size: int | None) -> str:
    return "-" if size is None else format_size(size)


def _ms(microseconds: float | None) -> str:
    return "-" if microseconds is None else f"{microseconds / 1000:.1f} ms"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(" ", "seconds").removesuffix("+00:00") + " UTC"
