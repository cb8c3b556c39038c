"""The errors of a container or its image, in words for the log and for a FailureReason."""

from __future__ import annotations

import json

from emulator.errors import ContainerError


def error_message(body: str) -> str:
    """A container's message in the body of an error; if it is Multi Model Server's JSON, the message in that."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.strip()


def refusal_explained(status: int, message: str) -> ContainerError:
    """Ours, for the log: why a container refuses a load."""
    if status != 405:
        return ContainerError(f"the container answered {status}: {error_message(message) or 'nothing'}")
    return ContainerError(
        f"POST /models answered 405 {' '.join(message.split())}: the container does not let models be loaded. "
        "TorchServe does with TS_ENABLE_MODEL_API=true in its environment (--env, or the model's Environment)"
    )


def label_missing(image: str, label: str) -> str:
    """CreateModel's error for an image without a label that the model needs."""
    return f"Your Ecr Image {image} does not contain required {label} Docker label(s)."
