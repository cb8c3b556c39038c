"""Endpoint files for tests: what ``localmme serve FILE`` takes, made of a few words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.scripted_models import SCRIPTED_CONTAINER, Journal


def scripted_container(journal: Journal, image: str = f"command:{SCRIPTED_CONTAINER}", **script: Any) -> dict[str, Any]:
    """The container definition of a scripted container that hosts one model, or none."""
    return {"Image": image, "Environment": {"SCRIPT_JOURNAL": str(journal.path), "SCRIPT": json.dumps(script)}}


def many(container: dict[str, Any], models: Path) -> dict[str, Any]:
    """The same container, hosting many models."""
    return {**container, "Mode": "MultiModel", "ModelDataUrl": str(models)}


def variant(model: str, **members: Any) -> dict[str, Any]:
    """A production variant, named as its model unless said otherwise."""
    return {"VariantName": model, "ModelName": model, "InitialInstanceCount": 1, "InitialVariantWeight": 1, **members}


def described(
    path: Path,
    models: Mapping[str, Sequence[dict[str, Any]]],
    variants: Sequence[dict[str, Any]] | None = None,
    mode: str = "Serial",
) -> str:
    """Write the file of an endpoint ``local``: each model has these containers, and without other word one variant."""
    made = []
    for name, containers in models.items():
        made.append({"ModelName": name, "Containers": containers, "InferenceExecutionConfig": {"Mode": mode}})
    config = {"EndpointConfigName": "config", "ProductionVariants": variants or [variant(name) for name in models]}
    endpoint = {"EndpointName": "local", "EndpointConfigName": "config"}
    path.write_text(json.dumps({"Models": made, "EndpointConfigs": [config], "Endpoints": [endpoint]}, indent=2))
    return str(path)
