"""``localmme trace``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Summarise recordings of serve --record.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--csv", "as_csv", is_flag=True, help="Print each call's time (seconds since 1970) and model, and no summary."
)
def trace(files: tuple[Path, ...], as_json: bool, as_csv: bool) -> None:
    """Summarise recordings of serve --record: hit ratio, cold starts, latencies, errors, evictions and their causes.

    FILE is read with the files that were kept when another was begun (traffic.1.jsonl.gz for traffic.jsonl.gz), also
    while it grows, and after a crash up to its last whole line.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.")
    from localmme.trace import command

    if as_csv:
        command.write_csv(files)
        return
    summary = command.summarise(files)
    (command.print_json if as_json else command.print_summary)(summary)
