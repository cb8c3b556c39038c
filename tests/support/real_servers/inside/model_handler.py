"""The handler that Multi Model Server runs for each model: it multiplies by the number in the model's ``model.json``.

A text is answered with a text, JSON (``{"x": 2}``) with JSON, and bytes with the same bytes, in the content type of the
request. JSON can also ask it to ``sleep`` for some seconds, or to run ``out_of_memory``.
"""

import json
import time
from pathlib import Path
from typing import Any

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"

model: dict[str, Any] = {}


def load(directory: str) -> None:
    """Take the model's number and its ballast, or run out of memory as its archive asks."""
    settings = json.loads(Path(directory, "model.json").read_text())
    if settings["out_of_memory"]:
        raise MemoryError("this model does not fit")
    model.update(settings, ballast=b"\x01" * (settings["megabytes"] * 2**20))


def answer(body: bytes, content_type: str, headers: dict[str, str]) -> bytes | str:
    """What this model, and no other, says to a request."""
    if content_type == "application/octet-stream":
        return body
    if content_type != "application/json":
        return str(float(body) * model["number"])
    request = json.loads(body)
    if request.get("out_of_memory"):
        raise MemoryError("this request does not fit")
    time.sleep(request.get("sleep", 0))
    return json.dumps({"number": model["number"], "answer": request["x"] * model["number"], "headers": headers})


def handle(data: Any, context: Any) -> list[bytes | str] | None:
    """What the server calls: once without data to load, then for each request."""
    if data is None:
        load(context.system_properties["model_dir"])
        return None
    # Names keep the case they were sent in.
    headers = {name: value for name, value in context.get_all_request_header(0).items() if isinstance(value, str)}
    found = {name.lower(): value for name, value in headers.items()}
    content_type = found.get("content-type", "")
    context.set_response_content_type(0, content_type)
    if CUSTOM_ATTRIBUTES.lower() in found:
        context.set_response_header(0, CUSTOM_ATTRIBUTES, found[CUSTOM_ATTRIBUTES.lower()])
    return [answer(bytes(data[0]["body"]), content_type, headers)]
