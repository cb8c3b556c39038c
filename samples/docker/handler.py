"""Prices of houses: the price of a square metre is the model."""

from __future__ import annotations

import json
from pathlib import Path


def model_fn(model_dir: str) -> float:
    return float(json.loads(Path(model_dir, "model.json").read_text())["price"])


def input_fn(body: bytes | str, content_type: str) -> list[float]:
    return [float(area) for area in json.loads(body)]


def predict_fn(areas: list[float], price: float) -> list[float]:
    return [price * area for area in areas]


def output_fn(prices: list[float], accept: str) -> tuple[str, str]:
    return json.dumps(prices), "application/json"
