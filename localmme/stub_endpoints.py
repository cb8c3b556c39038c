"""``localmme serve --stub FILE``: the requests that create the endpoints of a stub."""

from __future__ import annotations

from pathlib import Path

from emulator.containers.stub import file as stub_file
from emulator.hosting.definition import ONLY_VARIANT_NAME
from emulator.services.sagemaker.image import STUB
from emulator.services.sagemaker.start_requests import StartRequests


def start_requests(path: Path) -> StartRequests:
    """One endpoint for each that the file has. Raises SetupError: ``FILE:LINE: KEY: MESSAGE`` for each problem."""
    path = path.expanduser()
    modes = stub_file.read(path).endpoints
    image = f"{STUB}{path.resolve()}"
    variant = {"VariantName": ONLY_VARIANT_NAME, "InitialInstanceCount": 1, "InitialVariantWeight": 1.0}
    return StartRequests(
        [{"ModelName": name, "PrimaryContainer": {"Image": image, "Mode": mode}} for name, mode in modes.items()],
        [{"EndpointConfigName": name, "ProductionVariants": [{**variant, "ModelName": name}]} for name in modes],
        [{"EndpointName": name, "EndpointConfigName": name} for name in modes],
    )
