"""The errors of a container or its image, in words for the log and for a FailureReason."""

from __future__ import annotations

import json
import re

from emulator.errors import ContainerError


class NoAnswer(ContainerError):
    """No answer is for a request that names a model: for its caller, there is no such model."""

    def __init__(self, target_model: str) -> None:
        super().__init__("the stub has no answer for it")
        self.target_model = target_model


_CUT = re.compile(r'\{[^{}]*?"message": *("(?:[^"\\]|\\u[0-9a-fA-F]{4}|\\[^u])*)')  # up to a whole character


def error_message(body: str) -> str:
    """A container's message in the body of an error; if it is Multi Model Server's JSON, the message in that.

    SageMaker cuts a long body: then the message is as much of it as there is.
    """
    try:
        return str(json.loads(body)["message"])
    except (KeyError, TypeError):
        return body.strip()
    except ValueError:
        cut = _CUT.match(body)
        return str(json.loads(cut[1] + '"', strict=False)) if cut else body.strip()


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
