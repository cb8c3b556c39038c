"""What would be hosted of the requests that an emulator is started with."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from emulator.hosting.definition import EndpointDefinition
from emulator.services.sagemaker import endpoints_at_start
from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.model_data_location import locator
from emulator.services.sagemaker.registry import Registry
from emulator.services.sagemaker.start_requests import StartRequests
from localmme.aws_environment import region


def definitions(requests: StartRequests, s3_root: Path | None = None) -> list[EndpointDefinition]:
    """The definitions of the endpoints that these requests create, none of which is impossible."""
    registry = Registry(sqlite3.connect(":memory:", check_same_thread=False), [])
    endpoints: Any = None  # nothing is hosted
    control_plane = ControlPlane(
        registry, endpoints, region(), Path(), locator(s3_root), 1000, s3_root=s3_root or Path()
    )
    found = asyncio.run(endpoints_at_start.create(control_plane, requests, s3_root, Path()))
    registry.close()
    assert [impossible for _, impossible in found if impossible] == []
    return [definition for definition, _ in found]
