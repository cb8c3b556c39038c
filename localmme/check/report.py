"""Reports of the results: for people (as they come), for programs (JSON) and for CI systems (JUnit XML)."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from emulator.errors import SetupError
from emulator.printable import printable
from localmme.check.finding import Verdict

if TYPE_CHECKING:
    from rich.console import Console

    from localmme.check.checks import Check
    from localmme.check.runner import Result

STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.WARN: "yellow", Verdict.SKIPPED: "dim"}
WIDTH = 80  # characters
LIST_WIDTH = 500
SHOWN_SECONDS = 0.05
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_data(results: Sequence[Result], interrupted: bool = False) -> dict[str, Any]:
    """The report for JSON: ``{"interrupted": ..., "checks": [...]}``.

    ``sent`` and ``received`` are empty without an exchange, ``fix`` if there is nothing to do.
    """
    return {
        "interrupted": interrupted,
        "checks": [
            {
                "name": result.check.name,
                "verdict": result.finding.verdict.value,
                "contract": result.check.contract,
                "sent": result.finding.exchange.sent if result.finding.exchange else "",
                "received": result.finding.exchange.received if result.finding.exchange else "",
                "detail": result.finding.detail,
                "fix": result.check.fix if result.finding.verdict in (Verdict.FAIL, Verdict.WARN) else "",
                "seconds": round(result.seconds, 3),
            }
            for result in results
        ],
    }


def as_json(results: Sequence[Result], interrupted: bool = False) -> str:
    """The report as a JSON document."""
    return json.dumps(as_data(results, interrupted), indent=2, ensure_ascii=False)


def write_junit(results: Sequence[Result], path: Path) -> None:
    """Write JUnit XML. A warning is a passed test with the warning as its output. Raises SetupError."""
    counts = Counter(result.finding.verdict for result in results)
    suite = ElementTree.Element(
        "testsuite",
        name="localmme check",
        tests=str(len(results)),
        failures=str(counts[Verdict.FAIL]),
        errors="0",
        skipped=str(counts[Verdict.SKIPPED]),
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname="localmme.check", name=result.check.name, time=f"{result.seconds:.3f}"
        )
        text = NOT_XML.sub("\ufffd", as_text(result))
        if result.finding.verdict is Verdict.FAIL:
            message = NOT_XML.sub("\ufffd", result.finding.detail.partition("\n")[0])
            ElementTree.SubElement(case, "failure", message=message).text = text
        elif result.finding.verdict is Verdict.SKIPPED:
            ElementTree.SubElement(case, "skipped", message=NOT_XML.sub("\ufffd", result.finding.detail))
        elif text:
            ElementTree.SubElement(case, "system-out").text = text
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    try:
        ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise SetupError(f"The report cannot be written to {path}: {error.strerror}.") from None


def as_text(result: Result) -> str:
    """A result in full, as lines of text."""
    exchange = result.finding.exchange
    lines = [
        f"{result.finding.verdict.value}: {result.finding.detail}".rstrip(": "),
        f"contract: {result.check.contract}",
    ]
    if exchange is not None:
        lines += [f"sent: {exchange.sent}", f"received: {exchange.received}"]
    if result.finding.verdict in (Verdict.FAIL, Verdict.WARN):
        lines.append(f"to do: {result.check.fix}")
    return "\n".join(lines)


class Printer:
    """Prints each result as it comes, and at last a count.

    Lines are wrapped at words: in a terminal to its width, elsewhere to 80 columns, and each is flushed.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, WIDTH) if console.is_terminal else WIDTH
        self._counts: Counter[Verdict] = Counter()
        self._not_made: list[Result] = []  # in a row, for the same reason

    def found(self, result: Result) -> None:
        """Print a result. Checks that were not made for the same reason share a line."""
        self._counts[result.finding.verdict] += 1
        if not result.was_made:
            self._not_made.append(result)
            return
        self._print_not_made()
        verdict = result.finding.verdict
        seconds = f" ({result.seconds:.1f} s)" if result.seconds >= SHOWN_SECONDS else ""
        said, *more = map(printable, result.finding.detail.split("\n"))
        self._line(verdict, f"{result.check.name}{seconds}{': ' if said else ''}{said}")
        for line in more:
            self._wrapped(line, "        ")
        if verdict in (Verdict.FAIL, Verdict.WARN):
            exchange = result.finding.exchange
            self._item("contract", result.check.contract)
            if exchange is not None:
                self._item("sent", printable(exchange.sent))
                self._item("received", printable(exchange.received))
            self._item("to do", result.check.fix.replace("`", ""))

    def end(self, interrupted: bool = False, total: int = 0) -> None:
        """Say how many ended how."""
        self._print_not_made()
        counts = ", ".join(f"{self._counts[verdict]} {verdict.value}" for verdict in Verdict if self._counts[verdict])
        if interrupted:
            counts = f"Interrupted after {self._counts.total()} of {total} checks{': ' if counts else ''}{counts}"
        self._console.print(counts, markup=False, highlight=False)

    def _print_not_made(self) -> None:
        results, self._not_made = self._not_made, []
        if not results:
            return
        names = results[0].check.name + (f" and {len(results) - 1} more" if len(results) > 1 else "")
        self._line(Verdict.SKIPPED, f"{names}: {printable(results[0].finding.detail)}")

    def _line(self, verdict: Verdict, text: str) -> None:
        from rich.text import Text

        indent = " " * 8
        first, *rest = textwrap.wrap(text, self._width - 8, break_long_words=False, break_on_hyphens=False) or [""]
        head = Text.assemble((f"{verdict.value:<8}", STYLES[verdict]), first)
        self._console.print(head, soft_wrap=True, highlight=False)
        for line in rest:
            self._plain(indent + line)

    def _item(self, name: str, text: str) -> None:
        self._wrapped(f"{name:<9} {text}", " " * 8, " " * 18)

    def _wrapped(self, text: str, indent: str, further: str = "") -> None:
        own = text[: len(text) - len(text.lstrip())]
        for line in textwrap.wrap(
            text.strip(),
            self._width,
            initial_indent=indent + own,
            subsequent_indent=further or indent + own,
            break_long_words=False,
            break_on_hyphens=False,
        ):
            self._plain(line)

    def _plain(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)


def print_list(checks: Sequence[Check]) -> None:
    """The checks' names, and what they are about."""
    width = console_width()
    indent = " " * (max(len(check.name) for check in checks) + 2)
    for check in checks:
        name = f"{check.name:<{len(indent)}}"
        print(textwrap.fill(name + check.contract, width, subsequent_indent=indent, break_on_hyphens=False))


def console_width() -> int:
    """Characters in a line: as many as the terminal has; elsewhere a sentence is one line."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else LIST_WIDTH
