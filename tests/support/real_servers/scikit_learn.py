"""AWS's container for scikit-learn: the command that runs the toolkit and the server that it is made of."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.files import archive
from tests.support.real_servers import mms

SERVICE = "sklearn_container"  # a module of ``inside``
# As its users write it. What reads the request, predicts and writes the answer is the container's.
HANDLER = """
import json, os
from sklearn.linear_model import LinearRegression

def model_fn(model_dir):
    with open(os.path.join(model_dir, "factor.json")) as file:
        factor = json.load(file)
    return LinearRegression().fit([[0, 0], [1, 0], [0, 1]], [0, factor, factor])
"""


def command() -> list[str]:
    """The command, which needs no environment but the platform's.

    Raises NotProvisioned when it cannot run here.
    """
    return mms.command_of_service(SERVICE)


def model(path: Path, factor: float) -> Path:
    """Write the archive of a model that multiplies the sum of two numbers."""
    return archive(path, {"inference.py": HANDLER, "factor.json": json.dumps(factor)})
