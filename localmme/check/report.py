"""What was found, for people (a table), for programs (JSON) and for the pages of a CI (JUnit XML)."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from emulator.errors import SetupError
from emulator.printable import printable
from localmme.check.finding import Verdict

if TYPE_CHECKING:
    from rich.text import Text

    from localmme.check.contract import Check
    from localmme.check.runner import Result

STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.WARN: "yellow", Verdict.SKIPPED: "dim"}
PIPE_WIDTH = 200  # characters; in a pipe there is no screen to fit into
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_data(results: Sequence[Result]) -> dict[str, Any]:
    """Plain data: ``{"checks": [...]}``. ``sent`` and ``received`` are empty where no exchange told."""
    return {
        "checks": [
            {
                "name": result.check.name,
                "verdict": result.finding.verdict.value,
                "contract": result.check.contract,
                "sent": result.finding.exchange.sent if result.finding.exchange else "",
                "received": result.finding.exchange.received if result.finding.exchange else "",
                "detail": result.finding.detail,
                "seconds": round(result.seconds, 3),
            }
            for result in results
        ]
    }


def as_json(results: Sequence[Result]) -> str:
    return json.dumps(as_data(results), indent=2, ensure_ascii=False)


def write_junit(results: Sequence[Result], path: Path) -> None:
    """Write JUnit XML: a warning is a test that passed, and says what it warns of. Raises SetupError."""
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
        text = NOT_XML.sub("\ufffd", told(result))
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


def told(result: Result) -> str:
    """All there is to say of a result, in lines."""
    exchange = result.finding.exchange
    lines = [
        f"{result.finding.verdict.value}: {result.finding.detail}".rstrip(": "),
        f"contract: {result.check.contract}",
    ]
    if exchange is not None:
        lines += [f"sent: {exchange.sent}", f"received: {exchange.received}"]
    return "\n".join(lines)


def print_results(results: Sequence[Result]) -> None:
    """A table of all; below it, what was sent and came back where something is amiss; last, a count."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for result in results:
        first_line = result.finding.detail.partition("\n")[0]
        table.add_row(result.check.name, _verdict(result), f"{result.seconds:.1f}", Text(printable(first_line)))
    console.print(table)
    for result in results:
        if result.finding.verdict in (Verdict.FAIL, Verdict.WARN):
            console.print(Text.assemble(_verdict(result), "  ", (result.check.name, "bold")))
            for line in (
                told(result).splitlines()[1:] if "\n" not in result.finding.detail else told(result).splitlines()
            ):
                console.print(Text(printable(f"    {line}")), soft_wrap=True)
            console.print()
    counts = Counter(result.finding.verdict for result in results)
    console.print(", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]))


def print_list(checks: Sequence[Check]) -> None:
    """The checks' names, and what they are about."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        table.add_row(check.name, check.contract.replace("[", r"\["))
    Console(width=None if sys.stdout.isatty() else 500, highlight=False).print(table)


def _verdict(result: Result) -> Text:
    from rich.text import Text

    verdict = result.finding.verdict
    return Text(verdict.value, style=STYLES[verdict])
