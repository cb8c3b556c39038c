"""Stands for DJL Serving, which is on none of PyPI, Debian and npm: it answers as DJL Serving's documents and code say.

``python tests/support/djl_container.py`` serves the models of the plain sample container, with what differs from it: a
load is JSON or a query, the description of a model is a list of workflows, lists have pages, errors have another form
and close the connection. A failed load is answered twice, first with the error, then as if it had succeeded, and a
second load of a model unregisters it: so DJL Serving's ManagementRequestHandler reads (0.23 to 0.27).
"""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

sys.path.append(str(Path(__file__).parents[2] / "samples" / "containers" / "plain"))

import serve

PAGE = 100  # models on a page, at most
TYPES = {
    HTTPStatus.NOT_FOUND: "ModelNotFoundException",
    HTTPStatus.INSUFFICIENT_STORAGE: "WlmOutOfMemoryException",
    HTTPStatus.INTERNAL_SERVER_ERROR: "ModelException",
}


class RequestHandler(serve.RequestHandler):
    """DJL Serving's inference and management APIs, as far as SageMaker uses them."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path, _, query = self.path.partition("?")
        below = path.strip("/").split("/")
        try:
            if self.command == "POST" and below[-1] == "invoke":
                self._send(200, *serve.invoke(below[1], body, self.headers.get("Content-Type", ""), ""))
            else:
                self._send_json(200, self._managed(below, dict(parse_qsl(query)), body))
        except (ValueError, TypeError, KeyError) as error:
            self._send_json(500, {"code": 500, "type": "JsonSyntaxException", "message": str(error)}, "close")
        except serve.Refused as refusal:
            kind = TYPES.get(HTTPStatus(refusal.status), "BadRequestException")
            said = {"code": refusal.status, "type": kind, "message": str(refusal)}
            self._send_json(refusal.status, said, "close")
            if (self.command, path) == ("POST", "/models"):
                self._send_json(200, {"status": "Model registered."})

    do_POST = do_DELETE = do_GET

    def _managed(self, path: list[str], query: dict[str, str], body: bytes) -> Any:
        """The JSON that a call of the management API is answered with."""
        if path == ["ping"]:
            return {}
        if (self.command, path) == ("POST", ["models"]):
            is_json = self.headers.get_content_type() == "application/json"
            request = json.loads(body) if is_json else query
            return self._load(request["model_name"], request["url"])
        if path == ["models"]:
            if self.command != "GET":
                raise serve.Refused(405, "Requested method is not allowed, please refer to API document.")
            first, limit = int(query.get("next_page_token", 0)), min(int(query.get("limit", PAGE)), PAGE)
            names = sorted(serve.models)
            page = [{**serve.models[name].description(), "status": "READY"} for name in names[first : first + limit]]
            more = {"nextPageToken": str(first + limit)} if first + limit < len(names) else {}
            return {**more, "models": page}
        if path[0] != "models":
            raise serve.Refused(404, "Requested resource is not found, please refer to API document.")
        name = path[1]
        if self.command == "DELETE":
            serve.unload(name)
            return {"status": f'Model or workflow "{name}" unregistered'}
        return [{"workflowName": name, "models": [{**serve.find(name).description(), "status": "Healthy"}]}]

    def _load(self, name: str, directory: str) -> Any:
        try:
            serve.load(name, directory)
        except serve.Refused as refusal:
            if refusal.status == HTTPStatus.CONFLICT:
                serve.unload(name)
            raise
        return {"status": f'Model "{name}" registered.'}

    def _send_json(self, status: int, document: Any, connection: str = "keep-alive") -> None:
        self._send(status, "application/json", f"{json.dumps(document, indent=2)}\n".encode(), connection)

    def _send(self, status: int, content_type: str, body: bytes, connection: str = "keep-alive") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", connection)  # which http.server acts on
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


if __name__ == "__main__":
    serve.RequestHandler = RequestHandler  # type: ignore[misc]
    serve.main()
