"""Answers requests for house prices: the four functions that SageMaker's inference toolkit calls.

localmme serve --models DIR --handler samples/house_prices/handler.py    # DIR: what train.py wrote
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import joblib
import sklearn.ensemble  # noqa: F401 - for model.joblib: what is imported here, the models' workers find imported

FIELDS = ["rooms", "square_meters", "age"]


def model_fn(model_dir: str) -> dict[str, Any]:
    """Load what train.py packed: the city's name and regressor."""
    directory = Path(model_dir)
    about = json.loads((directory / "about.json").read_text("utf-8"))
    return {"city": about["city"], "regressor": joblib.load(directory / "model.joblib")}


def input_fn(body: bytes | str, content_type: str) -> list[list[float]]:
    """The houses of a request, one row of FIELDS each.

    JSON is one house or a list of houses; CSV is one house a line, without a header.
    """
    text = body if isinstance(body, str) else bytes(body).decode()
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type == "application/json":
        houses = json.loads(text)
    elif media_type == "text/csv":
        houses = [dict(zip(FIELDS, row)) for row in csv.reader(text.splitlines()) if row]
    else:
        raise ValueError(f"Cannot read {content_type}: send application/json or text/csv.")
    if isinstance(houses, dict):
        houses = [houses]
    if not isinstance(houses, list) or not houses:
        raise ValueError("There is no house in the request.")
    return [_row(number, house) for number, house in enumerate(houses, start=1)]


def predict_fn(houses: list[list[float]], model: dict[str, Any]) -> dict[str, Any]:
    """The city, and a price for each house."""
    prices = model["regressor"].predict(houses)
    return {"city": model["city"], "prices": [round(float(price)) for price in prices]}


def output_fn(prediction: dict[str, Any], accept: str) -> str:
    """The answer as JSON, the only format of this handler."""
    if accept and "json" not in accept and "*/*" not in accept:
        raise ValueError(f"Cannot answer {accept}: accept application/json.")
    return json.dumps(prediction)


def _row(number: int, house: Any) -> list[float]:
    missing = [field for field in FIELDS if not isinstance(house, dict) or field not in house]
    if missing:
        raise ValueError(f"House {number} lacks {', '.join(missing)}: each needs {', '.join(FIELDS)}.")
    try:
        return [float(house[field]) for field in FIELDS]
    except (TypeError, ValueError):
        raise ValueError(f"House {number} has a field that is not a number: {house}.") from None
