"""The handler that Multi Model Server runs, in one process for each model: replace it by yours.

The models are those of the plain container: a model.json with weights and a bias. A handler for a framework's models
loads the framework's file in ``initialize`` and calls the model in ``predict``. The README in the directory above says
how to build and run the image.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class ModelHandler:
    """The one model of this process."""

    def __init__(self) -> None:
        self.weights: list[float] = []

    def initialize(self, context: Any) -> None:
        """Load the model. A MemoryError here is a 507 to SageMaker, any other exception a 500."""
        settings = json.loads(Path(context.system_properties["model_dir"], "model.json").read_text())
        self.ballast = b"\x01" * int(settings.get("megabytes", 0) * 2**20)
        self.bias = float(settings.get("bias", 0))
        self.weights = [float(weight) for weight in settings["weights"]]

    def predict(self, body: bytes, content_type: str) -> list[float]:
        """The predictions for a request."""
        if content_type.startswith("text/csv"):
            rows = [[float(cell) for cell in line.split(",")] for line in body.decode().splitlines() if line.strip()]
        else:
            rows = json.loads(body)["features"]
        if any(len(row) != len(self.weights) for row in rows):
            raise ValueError(f"this model takes rows of {len(self.weights)} numbers")
        return [self.bias + sum(weight * number for weight, number in zip(self.weights, row)) for row in rows]

    def handle(self, number: int, request: dict[str, Any], context: Any) -> str:
        """The answer to one request of a batch."""
        # Header names have the case in which they were sent.
        headers = {name.lower(): value for name, value in context.get_all_request_header(number).items()}
        try:
            predictions = self.predict(bytes(request["body"]), headers.get("content-type", ""))
        except (ValueError, KeyError, TypeError) as failure:
            # An exception would be a 503, with the reason in the log only.
            context.set_response_status(400, "Bad Request", number)
            return f"the request cannot be read: {failure!r}"
        if headers.get("accept") == "text/csv":
            context.set_response_content_type(number, "text/csv")
            return "".join(f"{prediction}\n" for prediction in predictions)
        context.set_response_content_type(number, "application/json")
        return json.dumps({"predictions": predictions})


service = ModelHandler()


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[str] | None:
    """Called by the server: once without data, to load the model, and then with a batch of requests."""
    if not service.weights:
        service.initialize(context)
    if data is None:
        return None
    return [service.handle(number, request, context) for number, request in enumerate(data)]
