"""An emulator's state as tables: HTML in a notebook, text elsewhere."""

from __future__ import annotations

import html
import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from emulator.errors import SetupError
from emulator.printable import printable
from emulator.sizes import format_size
from emulator.state import EmulatorState, EndpointState, InstanceFigures, InstanceState, ModelState

ROWS = 200  # of a table; a notebook keeps what it shows, and grows with it
WIDTH = 160  # of text, in characters
PIPE_WIDTH = 500
COLUMN_GAP = 2  # characters between two columns

INSTANCE_COLUMNS = ("variant", "instance", "container", "healthy", "restarts", "in flight")
RESOURCE_COLUMNS = ("instance", "models", "memory", "memory used", "disk", "disk used")
LOADED_COLUMNS = ("instance", "target model", "memory", "in flight", "used", "")
# "failed" are loads, what came before them (download, extraction) included; "errors" are calls.
MODEL_COLUMNS = (
    "target model", "size", "is in", "memory", "loads", "failed", "evicted", "calls", "errors", "cold", "loaded",
    "used",
)  # fmt: skip
LEFT_OUT_FIRST = (
    "loaded",
    "size",
    "cold",
    "used",
    "evicted",
    "disk used",
    "memory used",
)  # where a terminal is too narrow
INSTANCES_COLUMN = "on"
ARCHIVES = (".tar.gz", ".tgz")
BAR = 8  # characters
GOES_NEXT = "goes next"

# The colours are those of the page, so that it can be read in light and in dark themes.
CELL = "padding: 2px 12px 2px 0; text-align: {align}; color: inherit; background: transparent"


# How a cell may look, on a terminal and in HTML. Each says the same as its text: nothing is told by colour alone.
STYLES = {
    "": ("", ""),
    "faint": ("dim", "opacity: 0.55"),
    "good": ("green", "background: rgba(46, 160, 67, 0.25)"),
    "used": ("bold green", "background: rgba(46, 160, 67, 0.5); font-weight: bold"),
    "next": ("green underline", "background: rgba(46, 160, 67, 0.25); text-decoration: underline"),
    "busy": ("yellow", "background: rgba(187, 128, 9, 0.3)"),
    "bad": ("bold red", "background: rgba(248, 81, 73, 0.3); font-weight: bold"),
}


class Cell(str):
    """A text that has one of STYLES."""

    style: str

    def __new__(cls, text: str, style: str) -> Cell:
        cell = super().__new__(cls, text)
        cell.style = style
        return cell


@dataclass(frozen=True)
class Table:
    """Rows of texts below their headings. The first column, and those that ``left`` names, are aligned to the left."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Iterable[str] = ()

    def align(self, number: int) -> str:
        """``left`` or ``right``, of a column."""
        return "left" if number == 0 or self.columns[number] in self.left else "right"

    @property
    def shown_rows(self) -> Sequence[Sequence[str]]:
        """The rows to show: at most ``ROWS``."""
        return self.rows[:ROWS]

    @property
    def note(self) -> str:
        """A line about the rows that are not shown; empty if all are."""
        hidden = len(self.rows) - len(self.shown_rows)
        return f"and {hidden} more" if hidden else ""


@dataclass(frozen=True)
class Shown:
    """A line and some tables, as IPython displays them."""

    line: str
    tables: Sequence[Table] = field(default_factory=list)

    def _repr_html_(self) -> str:
        parts = [f"<div>{html.escape(printable(self.line))}</div>"] if self.line else []
        return "<div>" + "".join([*parts, *map(_html, self.tables)]) + "</div>"

    def __str__(self) -> str:
        from rich.console import Console

        # In a notebook, rich would display by itself.
        console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_jupyter=False)
        if self.line:
            console.print(printable(self.line), markup=False, highlight=False)
        for table in self.tables:
            console.print(rich_table(table))
            if table.note:
                console.print(table.note)
        assert isinstance(console.file, io.StringIO)
        return "\n".join(line.rstrip() for line in console.file.getvalue().rstrip().splitlines())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def state(read: Callable[[], EmulatorState]) -> Shown:
    """An emulator's endpoints, instances and models. ``read`` returns its state; an error of it is shown."""
    try:
        now = read()
    except SetupError as error:
        return Shown(str(error))
    tables: list[Table] = []
    for endpoint in now["endpoints"]:
        reason = f": {endpoint['failure_reason']}" if endpoint["failure_reason"] else ""
        title = f"Endpoint {endpoint['endpoint_name']}, {endpoint['status']}{reason}"
        instances = list(instances_of(endpoint))
        tables += [Table(title, INSTANCE_COLUMNS, list(_containers(endpoint)), ("instance", "container"))]
        tables += [
            Table(
                "Memory and disk",
                RESOURCE_COLUMNS,
                [resources(name, instance, len(instance["memory"]["models"])) for name, instance in instances],
            )
        ]
        if loaded := [row for each in instances for row in _loaded(*each)]:
            title = "In memory: the least recently used come first, and go first"
            tables += [Table(title, LOADED_COLUMNS, loaded, ("target model", ""))]
        if endpoint["models"]:
            tables += [models(endpoint["models"], "Models")]
    return Shown(f"localmme at {now['url']}" + ("" if tables else ", without an endpoint"), tables)


def models(listed: Iterable[ModelState], title: str = "") -> Table:
    """Where each model is that exists, and how often it was used."""
    existing = list(filter(exists, listed))
    several = len({instance for model in existing for instance in model["instances"]}) > 1
    columns = (*MODEL_COLUMNS, INSTANCES_COLUMN) if several else MODEL_COLUMNS
    rows = [
        [
            model["target_model"],
            format_size(model["size_bytes"]),
            _place(model),
            _memory(model),
            str(model["loads"]),
            str(model["failed_loads"]),
            str(model["unloads"]),
            str(model["invocations"]),
            str(model["model_errors"]),
            f"{model['mean_load_wait_us'] / 1000:,.0f} ms" if model["mean_load_wait_us"] else "-",
            ago(model["last_loaded"] if model["in_memory"] else None),
            ago(model["last_used"]),
            *([", ".join(model["instances"])] if several else []),
        ]
        for model in existing
    ]
    return Table(title, columns, rows, ("is in", INSTANCES_COLUMN))


def exists(model: ModelState) -> bool:
    """False for one that is nowhere and was never loaded: its name was mistyped in an invocation."""
    return bool(model["loads"]) or model["in_s3"] or model["on_disk"] or model["in_memory"]


def no_archives(listed: Iterable[ModelState]) -> str:
    """A warning about files in S3 that are not model archives; empty if there are none."""
    names = [
        model["target_model"]
        for model in listed
        if model["in_s3"] and not model["loads"] and not model["target_model"].endswith(ARCHIVES)
    ]
    if not names:
        return ""
    such_as = f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
    return f"No archives by their names, and never loaded: {such_as}. localmme pack makes archives (.tar.gz)."


def _memory(model: ModelState) -> str:
    if not model["in_memory"]:
        return "-"
    return "yes" if model["memory_bytes"] is None else format_size(model["memory_bytes"])


def _place(model: ModelState) -> str:
    """Where a model is, the fastest place first; a model deleted from S3 is still served from memory or disk."""
    place = "memory" if model["in_memory"] else "disk" if model["on_disk"] else "S3" if model["in_s3"] else ""
    return place + ("" if model["in_s3"] else ", not S3" if place else "not S3")


def ago(seconds: float | None) -> str:
    """The age of a time: ``7 s``, ``5 min``, ``2 h``, ``3 d``."""
    if seconds is None:
        return "-"
    passed = max(0, int(time.time() - seconds))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if passed >= length:
            return f"{passed // length} {unit}"
    return f"{passed} s"


def fitting(table: Table, width: int) -> tuple[Table, list[str]]:
    """The table without the columns that can be missed most easily, as far as it is too wide; and their headings."""
    from rich.cells import cell_len

    left_out: list[str] = []
    for name in LEFT_OUT_FIRST:
        columns = zip(table.columns, *table.rows, strict=True)
        needed = sum(max(map(cell_len, column)) + COLUMN_GAP for column in columns)
        if needed <= width:
            break
        if name in table.columns:
            at = list(table.columns).index(name)
            rows = [[*row[:at], *row[at + 1 :]] for row in table.rows]
            table = replace(table, columns=[*table.columns[:at], *table.columns[at + 1 :]], rows=rows)
            left_out.append(name)
    return table, left_out


def instances_of(endpoint: EndpointState) -> Iterator[tuple[str, InstanceState]]:
    """All instances with their names, as ``ModelState.instances`` has them: of several variants, with the variant's."""
    for variant in endpoint["variants"]:
        prefix = f"{variant['variant_name']}/" if len(endpoint["variants"]) > 1 else ""
        for instance in variant["instances"]:
            yield f"{prefix}{instance['instance_id']}", instance


def _containers(endpoint: EndpointState) -> Iterable[list[str]]:
    for variant in endpoint["variants"]:
        for instance in variant["instances"]:
            for number, container in enumerate(instance["containers"]):
                yield [
                    variant["variant_name"],
                    instance["instance_id"],
                    container["name"],
                    "yes" if container["healthy"] else "no",
                    str(container["restarts"]),
                    "" if number else str(instance["in_flight"]),  # what its containers share is shown once
                ]


def resources(name: str, instance: InstanceState | InstanceFigures, models: int) -> list[str]:
    """An instance's memory, which has so many models, and its disk, in RESOURCE_COLUMNS."""
    most = instance["memory"]["max_loaded_models"]
    memory, volume = instance["memory"], instance["volume"]
    return [
        name,
        str(models) + (f" of {most}" if most is not None else ""),
        _part(memory["used_bytes"], memory["budget_bytes"]),
        bar(memory["used_bytes"], memory["budget_bytes"]),
        _part(volume["used_bytes"], volume["capacity_bytes"]),
        bar(volume["used_bytes"], volume["capacity_bytes"]),
    ]


def _loaded(name: str, instance: InstanceState) -> Iterable[list[str]]:
    memory = instance["memory"]
    for model in sorted(memory["models"], key=lambda model: (model["in_flight"] > 0, model["last_used"])):
        yield [
            name,
            model["target_model"],
            "-" if model["memory_bytes"] is None else format_size(model["memory_bytes"]),
            str(model["in_flight"]),
            ago(model["last_used"]),
            GOES_NEXT if model["target_model"] == memory["next_victim"] else "",
        ]


def bar(used: int, whole: int) -> str:
    """A share as a bar: ``███░░░░░``."""
    full = min(BAR, round(used / whole * BAR)) if whole else 0
    return "█" * full + "░" * (BAR - full)


def _part(used_bytes: int, of_bytes: int) -> str:
    return f"{format_size(used_bytes)} of {format_size(of_bytes)}"


def _html(table: Table) -> str:
    def cell(tag: str, number: int, text: str) -> str:
        style = CELL.format(align=table.align(number)) + _css(text)
        return f'<{tag} style="{style}">{html.escape(printable(text))}</{tag}>'

    def cells(tag: str, texts: Sequence[str]) -> str:
        return f"<tr>{''.join(cell(tag, number, text) for number, text in enumerate(texts))}</tr>"

    title = f"<b>{html.escape(printable(table.title))}</b>" if table.title else ""
    caption = f'<caption style="text-align: left; color: inherit">{title}</caption>' if title else ""
    head = f"<thead>{cells('th', table.columns)}</thead>"
    body = f"<tbody>{''.join(cells('td', row) for row in table.shown_rows)}</tbody>"
    note = f"<div>{html.escape(table.note)}</div>" if table.note else ""
    return f'<table style="border-collapse: collapse; margin: 8px 0">{caption}{head}{body}</table>{note}'


def _css(text: str) -> str:
    return f"; {STYLES[text.style][1]}" if isinstance(text, Cell) else ""


def _rich(text: str) -> str:
    return STYLES[text.style][0] if isinstance(text, Cell) else ""


def console() -> Any:
    """Rich's console for standard output; a pipe has no colours."""
    from rich.console import Console

    # A pipe has no width to fit into, and grep needs whole names.
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def rich_table(table: Table) -> Any:
    """A table for a console; plain text in a pipe."""
    import rich.table
    from rich.box import SIMPLE
    from rich.text import Text

    title = Text(printable(table.title)) if table.title else None
    made = rich.table.Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(table.columns):
        made.add_column(heading, justify="left" if table.align(number) == "left" else "right", overflow="fold")
    for row in table.shown_rows:
        made.add_row(*(Text(printable(cell), _rich(cell)) for cell in row))
    return made
