"""An editor's side of the debug adapter protocol, as far as a test needs it."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from typing_extensions import Self


class Editor:
    """A debugger that is attached to a process. Each method returns when the process has answered."""

    def __init__(self, port: int, breakpoints: dict[Path, list[int]] | None = None) -> None:
        """Attach, with breakpoints at these lines of these files."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._incoming = self._socket.makefile("rb")
        self._sequence = 0
        self._request("initialize", adapterID="test", pathFormat="path")
        self._send("attach", justMyCode=True)
        self._event("initialized")
        for path, lines in (breakpoints or {}).items():
            asked = [{"line": line} for line in lines]
            self._request("setBreakpoints", source={"path": str(path)}, breakpoints=asked)
        self._send("configurationDone")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Be gone, as an editor that is killed."""
        self._incoming.close()
        self._socket.close()

    def stopped(self) -> dict[str, Any]:
        """The frame in which the process stops."""
        self._thread = self._event("stopped")["threadId"]
        frame: dict[str, Any] = self._request("stackTrace", threadId=self._thread)["stackFrames"][0]
        return frame

    def evaluate(self, expression: str, frame: dict[str, Any]) -> str:
        """The value in that frame, as text."""
        return str(self._request("evaluate", expression=expression, frameId=frame["id"])["result"])

    def go_on(self) -> None:
        self._request("continue", threadId=self._thread)

    def _send(self, command: str, **arguments: Any) -> int:
        self._sequence += 1
        request = {"seq": self._sequence, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(request).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return self._sequence

    def _request(self, command: str, **arguments: Any) -> Any:
        number = self._send(command, **arguments)
        while (message := self._next()).get("request_seq") != number:
            pass
        assert message["success"], message
        return message.get("body")

    def _event(self, name: str) -> Any:
        while (message := self._next()).get("event") != name:
            pass
        return message.get("body", {})

    def _next(self) -> dict[str, Any]:
        length = 0
        while line := self._incoming.readline().strip():
            length = int(line.partition(b":")[2])
        assert length, "the process has closed the connection"
        message: dict[str, Any] = json.loads(self._incoming.read(length))
        return message
