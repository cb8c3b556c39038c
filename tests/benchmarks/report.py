"""The table of a benchmark run."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table


class Report:
    """Rows of: what, measured, compared with, ratio, goal. Each is printed as it comes, all of them at the end."""

    def __init__(self) -> None:
        self._console = Console(width=160)
        self._table = Table(box=SIMPLE, pad_edge=False)
        for heading in ("what", "measured", "compared with", "ratio", "difference", "goal"):
            self._table.add_column(heading, overflow="fold")

    def add(
        self, what: str, measured: str, compared: str = "", ratio: float | None = None, goal: str = "", note: str = ""
    ) -> None:
        shown = "" if ratio is None else f"{ratio:.2f}"
        self._table.add_row(what, measured, compared, shown, note, goal)
        self._console.print("  ".join(filter(None, (what + ":", measured, compared and f"({compared})", shown, note))))

    def print(self) -> None:
        self._console.print(self._table)


def run(main: Callable[..., None], about: str, size: str, repeated: str) -> None:
    """One benchmark from the command line, with the megabytes and rounds that it takes."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(main).parameters.items()}
    parser = argparse.ArgumentParser(description=about)
    for name, text in (("megabytes", size), ("rounds", repeated)):
        parser.add_argument(f"--{name}", type=int, default=defaults[name], help=text)
    table = Report()
    main(table, **vars(parser.parse_args()))
    table.print()
