"""Runs the one container of a compose file as ``docker compose up`` does: ``python compose_up.py FILE``.

It stands for Docker Compose, which is not in every package index, and knows only what the SageMaker SDK's files have.
"""

from __future__ import annotations

import sys
from pathlib import Path

import docker
import yaml

(service,) = yaml.safe_load(Path(sys.argv[1]).read_text())["services"].values()
volumes = [volume.removesuffix(":z") for volume in service["volumes"]]
container = docker.from_env().containers.create(
    service["image"], service["command"], environment=service["environment"], volumes=volumes, tty=True
)
try:
    container.start()
    for chunk in container.logs(stream=True):
        sys.stdout.buffer.write(chunk)
    sys.exit(container.wait()["StatusCode"])
finally:
    container.remove(force=True)
