"""What others have written reaches a terminal as text only, and cannot look like a line of localmme's own."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from emulator.containers.errors import refusal_explained
from emulator.errors import SetupError
from emulator.events import Event, Events, LoadFailed, LogLine, ModelLoaded, ModelUnloaded, NotAnswered, Origin, Warned
from emulator.observers.terminal import TerminalLog
from emulator.printable import printable, printable_lines, without_colors
from emulator.server.gunicorn_app import LinesOfOneMessage
from emulator.state_directory import StateDirectory
from localmme import emulator_client, serve_process, tables
from localmme.cli import answer as answer_of_a_call
from localmme.cli.main import Commands, main
from localmme.pack import report
from localmme.pack.entry import ArchiveEntry

HERE = Origin("local", "us-east-1", "AllTraffic", "i-1", "primary")
# Clear the screen; the same by C1's CSI; a title that is set by OSC; turned round; what ends a line; half a character.
NASTY = "\x1b[2J\x9b2J\x1b]0;t\x07\u202egz.rat\u2066\u2028\x85\x7f\r\udcff"


def is_harmless(text: str) -> bool:
    """Whether there is nothing in it but text, tabs and newlines."""
    return re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", text) is None


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert printable("a\x1b[2Jb") == r"a\x1b[2Jb"
    assert printable("\x9b\x7f\u202e\u2028\n\r") == r"\x9b\x7f\u202e\u2028\n\r"
    assert printable("\udcff") == r"\udcff"  # an undecodable byte of a file's name
    assert is_harmless(printable(NASTY))


@pytest.mark.parametrize(
    "text", ["", "lisbon.tar.gz", "São Paulo\t東京\u3000駅 👩\u200d👧 50 %", r"C:\x1b", "12\xa0000"]
)
def test_what_is_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028", "\u2029"])
def test_the_further_lines_of_a_text_are_indented(end: str) -> None:
    assert printable_lines(f"first{end}loaded     fake{end}").startswith("first\n  loaded     fake")


def test_a_containers_colours_are_left_out() -> None:
    assert without_colors("\x1b[1;32mINFO\x1b[0m ready \x1b[2J") == "INFO ready \x1b[2J"


@pytest.mark.parametrize(
    "event",
    [
        LogLine(f"line {NASTY}"),
        Warned(f"warned {NASTY}"),
        LoadFailed(f"m{NASTY}", f"because\nloaded     forged.tar.gz (1 ms) {NASTY}"),
        NotAnswered(f"m{NASTY}", f"because\nloaded     forged.tar.gz (1 ms) {NASTY}"),
        ModelLoaded(f"m{NASTY}\nloaded     forged.tar.gz (1 ms)", 0.1),
        ModelUnloaded(f"m{NASTY}", f"reason\nloaded     forged.tar.gz (1 ms) {NASTY}", 0.1),
    ],
    ids=lambda event: type(event).__name__,
)
def test_no_event_brings_an_escape_sequence_or_a_forged_line_into_the_log(
    event: Event, capsys: pytest.CaptureFixture[str]
) -> None:
    events = Events(HERE)
    TerminalLog("http://127.0.0.1:1", {}).listen_to(events)
    events.publish(event)
    written = capsys.readouterr().err
    assert is_harmless(written)
    assert written.strip() and not any(re.match(r"(\S+ )?loaded     forged", line) for line in written.splitlines())


def test_a_traceback_forges_no_line_either() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LinesOfOneMessage("%(message)s"))
    logger = logging.Logger("of this test")
    logger.addHandler(handler)
    try:
        raise ValueError("x\nloaded     forged.tar.gz (1 ms)\x1b[2J")
    except ValueError:
        logger.exception("it failed")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "it failed" and all(line.startswith("  ") for line in lines[1:])
    assert is_harmless(stream.getvalue())


def test_an_error_of_a_command_is_harmless_and_its_further_lines_are_indented() -> None:
    @click.group(cls=Commands)
    def main() -> None:
        pass

    @main.command()
    def fail() -> None:
        raise SetupError(f"no {NASTY}\nError: forged")

    result = CliRunner().invoke(main, ["fail"])
    assert result.exit_code == 1
    assert is_harmless(result.output) and "\n  Error: forged\n" in result.output


def test_an_error_that_serve_ended_with_is_told_on_as_it_was(tmp_path: Path) -> None:
    error = "two lines:\nmore"
    directory = StateDirectory(tmp_path)
    directory.serve_log.write_text(f"loaded a\nError: {printable_lines(error)}\n")
    assert serve_process.last_words(directory, "ended") == error


@pytest.mark.parametrize("show", [str, tables.Shown._repr_html_], ids=["text", "HTML"])
def test_tables_are_harmless(show) -> None:
    shown = show(tables.Shown(NASTY, [tables.Table(f"t {NASTY}", ["name"], [[f"m {NASTY}"]])]))
    assert is_harmless(shown) and r"\x9b2J" in shown


def test_so_is_what_pack_lists(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_entries([ArchiveEntry(f"m{NASTY}", "file"), ArchiveEntry("link", "symbolic link", target=NASTY)])
    assert is_harmless(capsys.readouterr().out)


def test_a_refused_load_is_told_in_the_containers_own_words() -> None:
    said = '{"code": 500, "type": "InternalServerException", "message": "KeyError: weights"}'
    assert str(refusal_explained(500, said)) == "the container answered 500: KeyError: weights"
    assert str(refusal_explained(507, " no memory\n")) == "the container answered 507: no memory"
    assert str(refusal_explained(500, "")) == "the container answered 500: nothing"
    assert "TS_ENABLE_MODEL_API" in str(refusal_explained(405, "{}"))


def test_what_a_model_answers_is_shown_in_a_terminal_and_is_passed_on_as_it_is_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = b"price: 3\n\x1b[2J\xff"
    monkeypatch.setattr(emulator_client, "invoke", lambda *arguments, **request: answer)
    command = ["invoke", "m", "--data", "x", "--url", "http://127.0.0.1:1"]
    assert CliRunner().invoke(main, command).stdout_bytes == answer
    monkeypatch.setattr(answer_of_a_call, "_is_terminal", lambda stdout: True)
    assert CliRunner().invoke(main, command).output == "price: 3\n\\x1b[2J\\xff\n"
