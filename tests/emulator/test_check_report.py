"""The report of ``localmme check`` and its command line: what people, programs and a CI get, and the exit code."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import docker
import psutil
import pytest
from rich.console import Console

from localmme.check import report
from localmme.check.calls import Exchange
from localmme.check.checks import API, CHECKS, DG, OURS, REPORTS, chosen
from localmme.check.finding import Finding, failed, passed, skipped, warned
from localmme.check.runner import Result
from localmme.cli.main import main
from tests.documents import check_reference
from tests.support.checking import run
from tests.support.files import archive
from tests.support.processes import free_port
from tests.support.real_servers.images import Images
from tests.support.repository import REPOSITORY
from tests.support.scripted_models import SCRIPTED_CONTAINER, scripted_model
from tests.support.waiting import eventually

NAMES = [
    *("labels", "entry-point", "starts", "connect", "ping", "list-empty", "ping-while-busy", "load"),
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


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An archive for the scripted container."""
    return scripted_model(tmp_path / "model.tar.gz")


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
    printer.end(interrupted, of=34)
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
    missing = [Result(each, skipped("It did not start."), 0.0, was_made=False) for each in CHECKS[2:20]]
    lines = printed(*missing, *results(passed()))
    assert lines == ["skipped starts and 17 more: It did not start.", "pass    labels (1.2 s)", "1 pass, 18 skipped"]
    assert printed(*missing[:1])[0] == "skipped starts: It did not start."


def test_an_interruption_is_told_with_how_far_it_was() -> None:
    assert printed(*results(passed(), skipped("Why.")), interrupted=True)[-1] == (
        "Interrupted after 2 of 34 checks: 1 pass, 1 skipped"
    )
    assert printed(interrupted=True) == ["Interrupted after 0 of 34 checks"]


# The command


def test_list_names_every_check_with_its_sentence() -> None:
    done = run("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == NAMES
    assert "$SAGEMAKER_BIND_TO_PORT when that is set. (SageMaker developer guide)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give a model that the container can load: --model model.tar.gz."),
        (["--model", "missing.tar.gz"], "There is no model archive missing.tar.gz."),
        (["--only", "load-dupliacte"], "There is no check 'load-dupliacte'. Similar: load-duplicate"),
        (["--only", "load", "--fast"], "--only and --fast exclude each other"),
        (["--model", "README.md"], "README.md cannot be extracted: It is not compressed with gzip."),
        (["--model", "README.md", "--image", "a", "--url", "b"], "exclude each other"),
        (["--model", "README.md", "--url", "https://host"], "https://host is not the address of a container"),
        (["--model", "README.md", "--command", "no-such-program"], "There is no program 'no-such-program' to run."),
        (["--model", "README.md", "--memory", "much"], "'much' is not a size"),
        (["--model", "README.md", "--env", "novalue"], "--env takes NAME=VALUE"),
    ],
)
def test_what_cannot_be_checked_is_one_line_and_exit_code_2(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_good_container_has_exit_code_0(model: Path) -> None:
    done = run("--command", SCRIPTED_CONTAINER, "--model", str(model), "--only", "ping,load,unload", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)["checks"]
    assert [(each["name"], each["verdict"]) for each in found] == [(n, "pass") for n in ("ping", "load", "unload")]


def test_a_failed_check_has_exit_code_1_and_all_that_is_needed_to_understand_it(model: Path, tmp_path: Path) -> None:
    done = run(
        *("--command", SCRIPTED_CONTAINER, "--model", str(model), "--only", "load-duplicate,get,unload"),
        *("--json", "--junit", str(tmp_path / "junit.xml")),
        SCRIPT='{"get": {"status": 418, "body": "teapot"}}',
    )
    assert done.returncode == 1
    found = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    assert found["get"]["verdict"] == "fail"
    assert found["get"]["sent"].startswith("GET /models/")
    assert found["get"]["received"].startswith("418 application/json teapot")
    assert "modelUrl" in found["get"]["contract"]
    assert (tmp_path / "junit.xml").is_file()


def test_a_container_that_dies_fails_its_check_with_its_log_and_is_started_again(model: Path) -> None:
    done = run(
        *("--command", SCRIPTED_CONTAINER, "--model", str(model), "--only", "ping,unknown-model-get,list-empty,unload"),
        "--json",
        SCRIPT='{"get": {"lines": 3, "die": 7, "times": 1}}',
    )
    found = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    dead = found["unknown-model-get"]
    assert dead["verdict"] == "fail"
    assert "The container ended with exit code 7." in dead["detail"]
    assert "line 3" in dead["detail"]
    assert found["list-empty"]["verdict"] == "pass"  # by the next run


def test_one_that_does_not_start_fails_the_first_check_that_needs_it(model: Path) -> None:
    done = run(
        *("--command", SCRIPTED_CONTAINER, "--model", str(model), "--only", "load,get"),
        SCRIPT='{"start": {"exit": 3, "lines": ["no licence"]}}',
    )
    assert done.returncode == 1
    assert re.search(r"(?m)^fail +load \(.*ended with exit code 3", done.stdout)
    assert "no licence" in done.stdout
    assert re.search(r"(?m)^skipped +get: The container did not start", done.stdout)


def test_a_container_that_runs_already_is_checked_and_left_running(model: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "SAGEMAKER_BIND_TO_PORT": "0", "SAGEMAKER_MULTI_MODEL": "true"}
    environment["SCRIPT_JOURNAL"] = str(tmp_path / "journal")
    server = subprocess.Popen(
        [*SCRIPTED_CONTAINER.split()], env={**environment, "SAGEMAKER_BIND_TO_PORT": str(free_port())}
    )
    try:
        eventually((tmp_path / "journal").exists)
        journal = eventually((tmp_path / "journal").read_text)
        url = f"http://127.0.0.1:{json.loads(journal.splitlines()[0])['port']}"
        done = run(
            "--url", url, "--model", str(model), "--only", "starts,load,unload,load-unload-growth,sigterm", "--json"
        )
        verdicts = {each["name"]: each["verdict"] for each in json.loads(done.stdout)["checks"]}
        assert verdicts == {
            **dict.fromkeys(["load", "unload"], "pass"),
            **dict.fromkeys(["starts", "load-unload-growth", "sigterm"], "skipped"),
        }
        assert server.poll() is None
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("timeout", [["--timeout", "0.5"], []], ids=["given", "shorter than of one that is started"])
def test_nothing_at_the_url_is_exit_code_2(timeout: list[str], model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localmme.check.command.RUNNING_STARTUP_SECONDS", 0.5)
    done = run("--url", f"http://127.0.0.1:{free_port()}", "--model", str(model), *timeout)
    assert done.returncode == 2
    assert "No healthy container answers at http://127.0.0.1:" in done.stderr


def test_a_mistake_in_a_check_is_no_verdict_on_the_container(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def mistaken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("localmme.check.command.Runner.run", mistaken)
    with pytest.raises(SystemExit) as ended:
        main(["check", "--command", SCRIPTED_CONTAINER, "--model", str(model)])
    assert ended.value.code == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_is_ended_in_the_middle(number: int, tmp_path: Path) -> None:
    slow = archive(tmp_path / "slow.tar.gz", {"script.json": '{"load": {"delay": 60}}'})
    arguments = ["--command", SCRIPTED_CONTAINER, "--model", str(slow), "--only", "ping,load,get", "--json"]
    arguments += ["--junit", str(tmp_path / "junit.xml")]
    state = tmp_path / "state"
    journal = tmp_path / "journal"
    process = subprocess.Popen(
        [sys.executable, "-m", "localmme", "check", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "XDG_STATE_HOME": str(state), "SCRIPT_JOURNAL": str(journal)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    eventually(lambda: journal.exists() and '"start"' in journal.read_text() and '"ping"' in journal.read_text())
    time.sleep(0.2)  # into the load
    below = psutil.Process(process.pid).children(recursive=True)
    assert below
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    if number != signal.SIGKILL:
        assert (process.returncode, errors) == (128 + number, b"Interrupted; nothing is left running.\n")
        told = json.loads(output)
        assert told["interrupted"] is True
        assert [(each["name"], each["verdict"]) for each in told["checks"]] == [("ping", "pass")]
        [suite] = ElementTree.parse(tmp_path / "junit.xml").getroot()
        assert suite.get("tests") == "1"
    eventually(lambda: not any(process.is_running() and process.status() != "zombie" for process in below))
    eventually(lambda: not list(state.glob("localmme/.checks/check-*")))


@pytest.mark.docker
def test_the_container_of_a_killed_check_is_removed_by_the_next(
    engine: docker.DockerClient, images: Images, tmp_path: Path
) -> None:
    slow = archive(tmp_path / "slow.tar.gz", {"script.json": '{"load": {"delay": 60}}'})
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}

    def ours() -> list[str]:
        labels = [each.labels.get("localmme.owner", "") for each in engine.containers.list(all=True)]
        return [owner for owner in labels if owner.startswith(str(tmp_path))]

    arguments = ["--image", images.scripted(), "--model", str(slow), "--only", "load"]
    killed = subprocess.Popen(
        [sys.executable, "-m", "localmme", "check", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
    )
    try:
        eventually(ours)
    finally:
        killed.kill()
        killed.wait()
    done = run("--command", SCRIPTED_CONTAINER, "--model", str(slow), "--only", "ping", **environment)
    assert done.returncode == 0, done.stderr
    assert ours() == []
    assert not list(tmp_path.glob("state/localmme/.checks/check-*"))
