"""``serve --debug``: a handler that is stopped in a debugger, and goes on."""

from __future__ import annotations

import os
import pty
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.debug_adapter import Editor
from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.model_server_process import embedded
from tests.support.processes import free_port
from tests.support.waiting import eventually

HANDLER = """
def handle(data, context):
    if data is None:
        breakpoint()
        loaded = True
        return
    text = bytes(data[0]["body"]).decode()
    return [text.upper()]
"""
ANSWER = HANDLER.splitlines().index("    return [text.upper()]") + 1


def test_a_handler_is_stopped_by_an_editor_and_by_itself(
    serve: Callable[..., Emulator], bucket: Path, tmp_path: Path
) -> None:
    for name in "ab":
        archive(bucket / f"{name}.tar.gz", {"weights": "1"})
    handler = tmp_path / "handler.py"
    handler.write_text(HANDLER)
    first = free_port()
    emulator = serve("--models", str(bucket), "--handler", str(handler), "--debug", str(first))

    def waiting(count: int) -> list[int]:
        """The ports at which that many models wait, in the order in which they were loaded."""
        found = re.findall(r"waits for a debugger at 127.0.0.1:(\d+)", emulator.log)
        return [int(port) for port in found] if len(found) == count else []

    with ThreadPoolExecutor() as callers:
        answer = callers.submit(emulator.invoke, "a.tar.gz", "hello")
        assert eventually(lambda: waiting(1)) == [first]
        with Editor(first, {handler: [ANSWER]}) as editor:
            frame = editor.stopped()  # at breakpoint()
            assert (frame["name"], editor.evaluate("data", frame)) == ("handle", "None")
            editor.go_on()
            frame = editor.stopped()
            assert (frame["line"], editor.evaluate("text", frame)) == (ANSWER, "'hello'")
            # Another model, while this one is stopped.
            other = callers.submit(emulator.invoke, "b.tar.gz", "world")
            next_port = eventually(lambda: waiting(2))[1]
            assert next_port > first
            with Editor(next_port) as second:
                second.stopped()
                second.go_on()
                assert other.result() == b"WORLD"
            assert not answer.done()
            editor.go_on()
            assert answer.result() == b"HELLO"
    assert emulator.invoke("a.tar.gz", "again") == b"AGAIN"  # the editor has gone, and its breakpoints


def test_without_an_editor_a_breakpoint_opens_pdb_in_the_terminal(tmp_path: Path) -> None:
    handler = tmp_path / "handler.py"
    handler.write_text(
        HANDLER.replace("        breakpoint()\n", "").replace("    return [text", "    breakpoint()\n    return [text")
    )
    master, terminal = pty.openpty()
    variables = {"LOCALMME_DEBUG_PORT": str(free_port()), "LOCALMME_DEBUG_TERMINAL": os.ttyname(terminal)}
    with embedded(tmp_path / "server", "--handler", str(handler), **variables) as server:
        assert server.load("a").status == 200
        answer = server.start(server.invoke, "a", b"hello")
        shown = b""
        while b"(Pdb) " not in shown:
            shown += os.read(master, 1000)
        os.write(master, b"p 'it is', text\ncontinue\n")
        assert answer.result().body == b"HELLO"
        while b"('it is', 'hello')" not in shown:
            shown += os.read(master, 1000)
    os.close(master)
    os.close(terminal)
