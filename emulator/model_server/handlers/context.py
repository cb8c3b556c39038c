"""The ``context`` argument of handlers: the same names and behaviour as Multi Model Server's."""

from __future__ import annotations

import json
import os
from typing import Any

from emulator.model_server.handlers.metrics import Metrics

_SERVER = {
    "server_name": "MMS",
    "server_version": "1.1.11",
}  # what this context imitates; some handlers check


class RequestProcessor:
    """The headers of one request, and the status and headers that the handler sets for its response.

    Names of request headers are those that the caller sent, in the same case. Beside them there is
    ``{"content-type": ...}`` under the name of each part of the request (``body``, or the fields of a form).
    """

    def __init__(self, headers: dict[str, Any]) -> None:
        self._request_headers = headers
        self._response_headers: dict[str, str] = {}
        self._status = 200
        self._phrase: str | None = None

    def get_request_property(self, key: str) -> Any:
        return self._request_headers.get(key)

    def get_request_properties(self) -> dict[str, Any]:
        return self._request_headers

    def report_status(self, code: int, reason_phrase: str | None = None) -> None:
        self._status, self._phrase = code, reason_phrase

    def get_response_status_code(self) -> int:
        return self._status

    def get_response_status_phrase(self) -> str | None:
        return self._phrase

    def add_response_property(self, key: str, value: str) -> None:
        self._response_headers[key] = value

    def get_response_headers(self) -> dict[str, str]:
        return self._response_headers

    def get_response_header(self, key: str) -> str | None:
        return self._response_headers.get(key)


class Context:
    """One for each worker: first for loading the model, then for one request after the other.

    ``request_processor`` and ``request_ids`` are None until the first request, as in Multi Model Server.
    """

    def __init__(self, model_name: str, model_dir: str, manifest: Any, gpu: int | None) -> None:
        self.model_name = model_name
        self.manifest = manifest
        self.system_properties: dict[str, Any] = {"model_dir": model_dir, "gpu_id": gpu, "batch_size": 1, **_SERVER}
        self.request_ids: dict[int, str] | None = None
        self.request_processor: list[RequestProcessor] | None = None
        self.metrics = Metrics(model_name, None)

    def begin(self, request_id: str, headers: dict[str, Any]) -> RequestProcessor:
        """Begin the next request."""
        processor = RequestProcessor(headers)
        self.request_ids = {0: request_id}
        self.request_processor = [processor]
        self.metrics = Metrics(self.model_name, request_id)
        return processor

    def get_request_id(self, idx: int = 0) -> str | None:
        return (self.request_ids or {}).get(idx)

    def get_request_header(self, idx: int, key: str) -> Any:
        return self._of(idx).get_request_property(key)

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        return self._of(idx).get_request_properties()

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.set_response_header(idx, "content-type", value)

    def get_response_content_type(self, idx: int) -> str | None:
        return self._of(idx).get_response_header("content-type")

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        self._of(idx).add_response_property(key, value)

    def get_response_headers(self, idx: int) -> dict[str, str]:
        return self._of(idx).get_response_headers()

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        if self.request_processor is not None:
            self.request_processor[idx].report_status(code, phrase)

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        for processor in self.request_processor or []:
            processor.report_status(code, phrase)

    def get_response_status(self, idx: int) -> tuple[int, str | None]:
        processor = self._of(idx)
        return processor.get_response_status_code(), processor.get_response_status_phrase()

    def _of(self, idx: int) -> RequestProcessor:
        if self.request_processor is None:
            raise RuntimeError("there is no request while the model is being loaded")
        return self.request_processor[idx]


def manifest_of(model_dir: str) -> Any:
    """What ``MAR-INF/MANIFEST.json`` contains; None = there is none. Raises ValueError when it is not JSON."""
    try:
        with open(os.path.join(model_dir, "MAR-INF", "MANIFEST.json"), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None
