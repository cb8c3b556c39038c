"""Decodes and encodes what SageMaker's Hugging Face container does: JSON, CSV, NPY, pictures and sound.

Pillow is imported when the first picture comes.
"""

from __future__ import annotations

import base64
import csv
import datetime
import io
import json
from collections.abc import Callable
from typing import Any

from emulator.model_server.handlers import content
from emulator.model_server.handlers.content import CSV, JSON, NPY

_ANY_PICTURE = "image/x-image"
_PICTURES = ("image/jpeg", "image/png", "image/tiff", "image/bmp", "image/gif", "image/webp", _ANY_PICTURE)
_SOUNDS = ("audio/x-flac", "audio/mpeg", "audio/wave", "audio/ogg", "audio/x-audio")


class PredictionException(Exception):
    """What goes wrong with an invocation, by the name that it has in Multi Model Server."""

    def __init__(self, message: str, error_code: int) -> None:
        super().__init__(message)
        self.message, self.error_code = message, error_code

    def __str__(self) -> str:
        return f"{self.message} : {self.error_code}"


def decode(body: Any, content_type: str | None) -> Any:
    """``body`` as what pipelines take. Raises UnsupportedFormatError, or whatever parsing raises."""
    return content.convert(_DECODERS, content_type, body)


def encode(prediction: Any, accept: str) -> Any:
    """A pipeline's result in a content type. Raises UnsupportedFormatError, or whatever encoding raises."""
    return content.convert(_ENCODERS, accept, prediction, accept)


def _decode_csv(body: str) -> Any:
    header = body.splitlines()[0].lower()
    if not any(name in header for name in ("question", "context", "inputs")):
        raise PredictionException(
            "You need to provide the correct CSV with Header columns to use it with the inference toolkit default "
            "handler.",
            400,
        )
    rows = list(csv.DictReader(io.StringIO(body)))
    return {"inputs": [row["inputs"] for row in rows] if "inputs" in rows[0] else rows}


def _decode_picture(body: bytes) -> Any:
    from PIL import Image

    return {"inputs": Image.open(io.BytesIO(body)).convert("RGB")}


def _encode_json(prediction: Any, accept: str) -> str:
    return json.dumps(prediction, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_json)


def _as_json(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, datetime.datetime):
        return str(value)
    if type(value).__module__.startswith("PIL."):
        return base64.b64encode(_encode_picture(value, "image/png")).decode()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _encode_csv(prediction: Any, accept: str) -> str:
    rows = prediction if isinstance(prediction, list) else list(prediction)
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _encode_picture(picture: Any, accept: str) -> bytes:
    kind = "PNG" if accept == _ANY_PICTURE else accept.split("/")[-1].upper()
    file = io.BytesIO()
    picture.save(file, format=kind)
    return file.getvalue()


_DECODERS: dict[str | None, Callable[[Any], Any]] = {
    JSON: json.loads,
    CSV: _decode_csv,
    NPY: content.DECODERS[NPY],
    **dict.fromkeys(_PICTURES, _decode_picture),
    **dict.fromkeys(_SOUNDS, lambda body: {"inputs": bytes(body)}),
}
_ENCODERS: dict[str, Callable[[Any, str], Any]] = {
    JSON: _encode_json,
    CSV: _encode_csv,
    NPY: lambda prediction, accept: content.ENCODERS[NPY](prediction),
    **dict.fromkeys(_PICTURES, _encode_picture),
}
