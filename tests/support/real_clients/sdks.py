"""The SageMaker Python SDKs, each in a virtual environment of its own: both call themselves ``sagemaker``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.real_servers.virtual_environment import VirtualEnvironment

INSIDE = Path(__file__).with_name("inside")
SECONDS_TO_RUN = 200


def sdk_2() -> VirtualEnvironment:
    """SageMaker Python SDK 2, the one with MultiDataModel, and a kernel for notebooks that use it."""
    return VirtualEnvironment("sagemaker-sdk-2", Path(sys.executable), ("sagemaker==2.257.7", "ipykernel==7.4.0"))


def sdk_3() -> VirtualEnvironment:
    """SageMaker Python SDK 3 with what trains, and a kernel for notebooks that use it.

    Bare, because it would bring mlflow, which ModelTrainer does not import. What builds models is not there: its
    ModelBuilder knows nothing of multi-model endpoints.
    """
    needed = ("sagemaker-core==2.27.0", "graphene==3.4.3", "jinja2==3.1.6", "nest-asyncio==1.6.0", "ipykernel==7.4.0")
    return VirtualEnvironment(
        "sagemaker-sdk-3", Path(sys.executable), needed, ("sagemaker==3.27.0", "sagemaker-train==1.27.0")
    )


def run(sdk: VirtualEnvironment, script: str, *arguments: str, environment: Mapping[str, str]) -> Any:
    """Run a script of ``inside/`` by an SDK's Python, with nothing but the environment to tell it where AWS is.

    What the last line that it prints says, which is JSON. Raises NotProvisioned when the SDK is not there.
    """
    command = [str(sdk.python), str(INSIDE / script), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_RUN, env=dict(environment))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])
