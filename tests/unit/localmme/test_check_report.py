"""The report of ``localmme check``: what people, programs and a CI get."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from localmme.check import report
from localmme.check.calls import Exchange
from localmme.check.checks import API, CHECKS, DG, OURS, REPORTS, chosen
from localmme.check.finding import Finding, failed, passed, skipped, warned
from localmme.check.runner import Result
from tests.documents import check_reference

NAMES = [
    *("labels", "entry-point", "architecture", "manifest", "program", "user"),
    *("starts", "connect", "ping", "list-empty", "ping-while-busy", "load"),
    *("load-duplicate", "load-missing", "load-broken", "get", "list", "list-pages", "opaque-names", "invoke"),
    *("invoke-headers", "invoke-content-type", "invoke-binary", "invoke-large", "unknown-model-invoke"),
    *("unknown-model-get", "unknown-model-unload", "unload", "concurrent-loads", "load-while-invoking"),
    *("bind-to-port", "unload-frees-memory", "load-unload-growth", "memory-full", "reload-after-507", "metrics"),
    *("unknown-path", "broken-json", "sigterm", "long-use"),
]
SLOW = {"bind-to-port", "unload-frees-memory", "load-unload-growth", "memory-full", "reload-after-507"}


def exchange(body: bytes = b'{"error": "no"}', **changes: Any) -> Exchange:
    """A load that was answered with 500."""
    fields: dict[str, Any] = {
        "method": "POST",
        "path": "/models",
        "request_headers": (("Content-Type", "application/json"),),
        "request_body": b'{"model_name": "n"}',
        "status": 500,
        "headers": (("content-type", "application/json"),),
        "body": body,
        "problem": "",
        "seconds": 0.5,
    }
    return Exchange(**{**fields, **changes})


def results(*findings: Finding) -> list[Result]:
    """These findings, by the first checks."""
    return [Result(check, finding, 1.25) for check, finding in zip(CHECKS, findings)]


def test_there_are_these_checks_in_this_order() -> None:
    assert [check.name for check in CHECKS] == NAMES


def test_each_check_has_a_sentence_a_source_and_something_to_do() -> None:
    for each in CHECKS:
        assert each.sentence.endswith(".") and each.fix.endswith(".") and each.done
        assert {*each.sources} <= {DG, API, REPORTS, OURS} and each.sources
        assert each.contract.count("(") >= 1 and "[" not in each.contract.rpartition("(")[2]


def test_the_checks_are_explained_in_the_docs_as_in_the_output() -> None:
    text = check_reference.DOCUMENT.read_text("utf-8")
    assert text == check_reference.renewed(text), "run python -m tests.documents.check_reference"


def test_fast_leaves_out_what_takes_long() -> None:
    assert [each.name for each in chosen(None, fast=True)] == [name for name in NAMES if name not in SLOW]


def test_only_takes_checks_in_their_own_order() -> None:
    assert [each.name for each in chosen("sigterm, ping")] == ["ping", "sigterm"]


def test_json_tells_what_was_sent_and_what_came_back() -> None:
    [data] = report.as_data(results(failed("It fails.", exchange())))["checks"]
    assert data == {
        "name": "labels",
        "verdict": "fail",
        "contract": "An image for multi-model endpoints has the label "
        "com.amazonaws.sagemaker.capabilities.multi-models=true; for inference pipelines, accept-bind-to-port=true as "
        "well. (SageMaker developer guide)",
        "sent": 'POST /models Content-Type: application/json {"model_name": "n"}',
        "received": '500 application/json {"error": "no"} after 0.500 s',
        "detail": "It fails.",
        "fix": CHECKS[0].fix,
        "seconds": 1.25,
    }


def test_json_tells_whether_it_was_interrupted() -> None:
    assert json.loads(report.as_json([], interrupted=True)) == {"interrupted": True, "checks": []}
    assert json.loads(report.as_json(results(passed())))["interrupted"] is False


@pytest.mark.parametrize(
    "body", [b"\x00\xff" * 40, "é".encode() * 5000, b"\x1b[31mred", "\ud800".encode("utf-8", "surrogatepass")]
)
def test_any_body_can_be_shown(body: bytes, tmp_path: Path) -> None:
    found = results(failed("It fails.", exchange(body)))
    json.loads(report.as_json(found))
    report.write_junit(found, tmp_path / "junit.xml")
    ElementTree.parse(tmp_path / "junit.xml")
    assert len(found[0].finding.exchange.received) < 600  # type: ignore[union-attr]
    assert "\x1b" not in found[0].finding.exchange.received  # type: ignore[union-attr]


def test_an_answer_that_did_not_come_is_told_by_its_problem() -> None:
    assert exchange(b"", status=0, problem="no answer: too late").received == "no answer: too late"


def test_junit_counts_failures_and_skips(tmp_path: Path) -> None:
    found = results(passed(), failed("It \x00fails.\nMore.", exchange()), warned("Careful."), skipped("No image."))
    report.write_junit(found, tmp_path / "junit.xml")
    [suite] = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "1")
    good, bad, careful, skip = suite
    failure, skipping = bad.find("failure"), skip.find("skipped")
    assert failure is not None and failure.get("message") == "It \ufffdfails." and "More." in (failure.text or "")
    assert skipping is not None and skipping.get("message") == "No image."
    assert "Careful." in (careful.findtext("system-out") or "")
    assert good.find("failure") is None


def printed(*found: Result, interrupted: bool = False, width: int | None = None) -> list[str]:
    """What a person sees, in lines; in a pipe, or in a terminal of so many columns."""
    out = io.StringIO()
    printer = report.Printer(Console(file=out, width=width, force_terminal=width is not None, color_system=None))
    for result in found:
        printer.found(result)
    printer.end(interrupted, total=34)
    return out.getvalue().splitlines()


def test_a_failure_is_printed_with_its_cause_and_what_to_do() -> None:
    lines = printed(*results(passed("Fine."), failed("It fails.\n    last line of [log]", exchange()), skipped("Why.")))
    assert lines[0] == "pass    labels (1.2 s): Fine."
    assert lines[1:3] == ["fail    entry-point (1.2 s): It fails.", "            last line of [log]"]
    assert lines[3].startswith("        contract  The image is run with the argument `serve`")
    assert '        received  500 application/json {"error": "no"} after 0.500 s' in lines
    assert any(line.startswith("        to do     Use the exec form") for line in lines)
    assert lines[-1] == "1 pass, 1 fail, 1 skipped"


@pytest.mark.parametrize("width", [None, 80, 40])
def test_lines_are_broken_between_words(width: int | None) -> None:
    words = "as many words as there must be to fill more than a single line of a terminal"
    lines = printed(*results(failed(f"{words}.\n{words}.", exchange())), width=width)
    assert max(map(len, lines)) <= (width or 80) or width == 40  # where one word is longer than that
    text = " ".join(" ".join(lines).split())
    assert f"{words}. {words}." in text and CHECKS[0].fix.replace("`", "") in text


def test_what_a_terminal_takes_for_orders_is_not_printed() -> None:
    text = "\n".join(printed(*results(failed("a\x1b[31mb\rc\x9bd\u202e\n    log\x07", exchange(b"\x1b]0;x")))))
    assert text.replace("\n", "").isprintable()
    assert r"a\x1b[31mb\rc\x9bd\u202e" in text


def test_checks_that_were_not_made_are_one_line() -> None:
    missing = [Result(each, skipped("It did not start."), 0.0, was_made=False) for each in CHECKS[6:24]]
    lines = printed(*missing, *results(passed()))
    assert lines == [
        "skipped starts and 17 more: It did not start.",
        "pass    labels (1.2 s)",
        "1 pass, 18 skipped",
    ]
    assert printed(*missing[:1])[0] == "skipped starts: It did not start."


def test_an_interruption_is_told_with_how_far_it_was() -> None:
    assert printed(*results(passed(), skipped("Why.")), interrupted=True)[-1] == (
        "Interrupted after 2 of 34 checks: 1 pass, 1 skipped"
    )
    assert printed(interrupted=True) == ["Interrupted after 0 of 34 checks"]
