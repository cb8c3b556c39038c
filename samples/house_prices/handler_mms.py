"""The functions of handler.py as a service of Multi Model Server (MMS).

    localmme serve --models DIR --handler samples/house_prices/handler_mms.py    # DIR: what train.py wrote

MMS runs a worker for each model, calls ``handle`` once without data to load it, and then with a batch of requests.
"""

from __future__ import annotations

from typing import Any

from handler import input_fn, model_fn, output_fn, predict_fn


class HousePrices:
    """One worker's model."""

    def __init__(self) -> None:
        self.model: dict[str, Any] = {}

    def load(self, context: Any) -> None:
        self.model = model_fn(context.system_properties["model_dir"])

    def answer(self, number: int, request: dict[str, Any], context: Any) -> str:
        headers = {name.lower(): value for name, value in context.get_all_request_header(number).items()}
        try:
            houses = input_fn(request["body"], headers.get("content-type", ""))
            answer = output_fn(predict_fn(houses, self.model), headers.get("accept", ""))
        except ValueError as mistake:
            context.set_response_status(400, "Bad Request", number)
            return str(mistake)
        context.set_response_content_type(number, "application/json")
        return answer


_service = HousePrices()


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[str] | None:
    """Called by MMS."""
    if data is None:
        _service.load(context)
        return None
    return [_service.answer(number, request, context) for number, request in enumerate(data)]
