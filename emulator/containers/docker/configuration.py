"""The settings with which an engine creates a container as SageMaker runs it, and the container's address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from emulator.containers.container import ContainerSettings
from emulator.containers.docker.aws_network import ADDRESS
from emulator.containers.docker.discovery import EngineInfo
from emulator.containers.docker.images import InspectedImage
from emulator.containers.job_container import JobContainerSettings
from emulator.containers.process.environment import past_proxies

PORT = 8080  # [dg] where a container listens unless it is assigned another port
SAFE_PORTS = "25000-25999"  # [reports] SAGEMAKER_SAFE_PORT_RANGE of a container that has its instance to itself
FIRST_PORT, PORTS_EACH = 14_000, 100  # of containers that share an instance: the port to bind, and 99 that are free
MODELS = PurePosixPath("/opt/ml/models")  # [dg]
MODEL = PurePosixPath("/opt/ml/model")  # [dg]
MULTI_MODEL_LABEL = "com.amazonaws.sagemaker.capabilities.multi-models=true"  # [dg]
BIND_TO_PORT_LABEL = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true"  # [dg]


def configuration(
    image: InspectedImage, settings: ContainerSettings, info: EngineInfo, mount: bool, aws: Mapping[str, str]
) -> dict[str, Any]:
    """The settings for the engine, in the words of its API; ``aws`` are the variables by which AWS is called."""
    port = bound_port(settings)
    environment = {**aws, **settings.environment, **platform_environment(settings)}
    environment |= past_proxies(environment, [ADDRESS])
    host = host_configuration(settings, info)
    if mount:
        # A mount, not a bind: that would make a directory where there is none, on whatever machine.
        source, target = str(settings.models.resolve()), str(inside(settings))
        host["Mounts"] = [{"Type": "bind", "Source": source, "Target": target, "ReadOnly": True}]
        if info.selinux:
            host["SecurityOpt"] = ["label=disable"]
    if not info.reachable:
        host["PortBindings"] = {f"{port}/tcp": [{"HostIp": info.publish_at, "HostPort": ""}]}
    return {
        "Image": image.id,
        "Cmd": ["serve"],
        "Hostname": host_name(settings.name),
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "ExposedPorts": {f"{port}/tcp": {}},
        "HostConfig": host,
    }


def host_configuration(settings: ContainerSettings | JobContainerSettings, info: EngineInfo) -> dict[str, Any]:
    """What a container has of the machine, and how the engine treats it: the same for hosting and for jobs."""
    host: dict[str, Any] = {
        "Memory": settings.memory_bytes,
        "MemorySwap": settings.memory_bytes,  # memory and swap together: no swap
        "NanoCpus": min(settings.vcpus, info.cpus) * 10**9,  # an engine refuses more than it has
        "Init": False,
        "LogConfig": {"Type": "none"},  # the emulator keeps the log; the engine need not write it as well
    }
    if settings.gpus:
        host["DeviceRequests"] = [{"Count": settings.gpus, "Capabilities": [["gpu"]]}]
    return host


def bound_port(settings: ContainerSettings) -> int:
    """The port that the container is to listen at. Multi Model Server refuses those above 32766."""
    return FIRST_PORT + PORTS_EACH * settings.position if settings.shares_instance else PORT


def platform_environment(settings: ContainerSettings) -> Mapping[str, str]:
    """The ports that SageMaker tells a container, one that is alone too."""
    if not settings.shares_instance:
        return {"SAGEMAKER_SAFE_PORT_RANGE": SAFE_PORTS}
    port = bound_port(settings)
    return {
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_SAFE_PORT_RANGE": f"{port + 1}-{port + PORTS_EACH - 1}",
    }


def inside(settings: ContainerSettings) -> PurePosixPath:
    """Where the container looks for its model or models."""
    return MODELS if settings.multi_model else MODEL


def host_name(name: str) -> str:
    """A name made into one of DNS."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", name)[:63].strip("-") or "container"


def reached_at(network: Mapping[str, Any], port: int, info: EngineInfo) -> tuple[str, int]:
    """The address to connect to, by what the engine says of a running container's network. One that ended has none."""
    if info.reachable:
        addresses = (each.get("IPAddress") for each in network["Networks"].values())
        return next(filter(None, addresses), info.host), port
    published = network["Ports"].get(f"{port}/tcp") or [{"HostPort": "0"}]
    return info.host, int(published[0]["HostPort"])
