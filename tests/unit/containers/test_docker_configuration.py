"""What the Docker Engine is to create a container with, and where the container is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emulator.containers.docker.configuration import configuration, host_name, reached_at
from emulator.containers.docker.discovery import EngineInfo
from emulator.containers.docker.images import InspectedImage
from tests.support.docker_host import MIB, container_settings

NEAR = EngineInfo(cpus=2, reachable=True, publish_at="", host="127.0.0.1", selinux=False)
FAR = EngineInfo(cpus=16, reachable=False, publish_at="", host="engine.example", selinux=True)
IMAGE = InspectedImage("sha256:1", "mme")


def configured(
    directory: Path, info: EngineInfo = NEAR, mount: bool = True, aws: dict[str, str] | None = None, **given: Any
) -> dict[str, Any]:
    return configuration(IMAGE, container_settings(directory, **given), info, mount, aws or {})


def environment(configuration: dict[str, Any]) -> dict[str, str]:
    return dict(variable.split("=", 1) for variable in configuration["Env"])


def test_a_container_is_created_as_sagemaker_runs_it(tmp_path: Path) -> None:
    made = configured(tmp_path, name="my primary_1", environment={"A": "b=c"})
    assert (made["Image"], made["Cmd"], made["Hostname"]) == ("sha256:1", ["serve"], "my-primary-1")
    assert environment(made) == {"A": "b=c", "SAGEMAKER_SAFE_PORT_RANGE": "25000-25999"}
    host = made["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 256 * MIB
    assert host["NanoCpus"] == 2 * 10**9, "of four, as the engine has no more"
    assert not host["Init"] and "DeviceRequests" not in host and "PortBindings" not in host
    models = {"Type": "bind", "Source": str(tmp_path / "models"), "Target": "/opt/ml/models", "ReadOnly": True}
    assert host["Mounts"] == [models] and "SecurityOpt" not in host


def test_the_models_environment_outweighs_how_aws_is_called_and_no_proxy_is_asked_for_that(tmp_path: Path) -> None:
    aws = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://169.254.170.2:1"}
    given = environment(
        configured(tmp_path, aws=aws, environment={"AWS_REGION": "eu-west-1", "HTTP_PROXY": "http://p"})
    )
    assert (given["AWS_REGION"], given["AWS_ENDPOINT_URL"]) == ("eu-west-1", "http://169.254.170.2:1")
    assert given["NO_PROXY"] == given["no_proxy"] == "169.254.170.2"


def test_containers_that_share_an_instance_have_ports_of_their_own(tmp_path: Path) -> None:
    given = [environment(configured(tmp_path, position=place, shares_instance=True)) for place in (0, 2)]
    assert given == [
        {"SAGEMAKER_BIND_TO_PORT": "14000", "SAGEMAKER_SAFE_PORT_RANGE": "14001-14099"},
        {"SAGEMAKER_BIND_TO_PORT": "14200", "SAGEMAKER_SAFE_PORT_RANGE": "14201-14299"},
    ]


def test_a_single_model_is_mounted_at_a_place_of_its_own(tmp_path: Path) -> None:
    made = configured(tmp_path, multi_model=False, models=tmp_path / "m")
    [mount] = made["HostConfig"]["Mounts"]
    assert (mount["Source"], mount["Target"]) == (str(tmp_path / "m"), "/opt/ml/model")
    assert "Mounts" not in configured(tmp_path, mount=False)["HostConfig"]


def test_an_engine_with_selinux_is_not_to_label_what_is_mounted(tmp_path: Path) -> None:
    assert configured(tmp_path, FAR)["HostConfig"]["SecurityOpt"] == ["label=disable"]
    assert "SecurityOpt" not in configured(tmp_path, FAR, mount=False)["HostConfig"]


def test_gpus_are_requested_where_there_are_to_be_some(tmp_path: Path) -> None:
    for gpus in (-1, 2):
        requests = configured(tmp_path, gpus=gpus)["HostConfig"]["DeviceRequests"]
        assert requests == [{"Count": gpus, "Capabilities": [["gpu"]]}]


def test_a_port_is_published_where_containers_cannot_be_reached(tmp_path: Path) -> None:
    bindings = configured(tmp_path, FAR)["HostConfig"]["PortBindings"]
    assert bindings == {"8080/tcp": [{"HostIp": "", "HostPort": ""}]}
    network = {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}, "Ports": {"8080/tcp": [{"HostPort": "32768"}]}}
    assert reached_at(network, 8080, FAR) == ("engine.example", 32768)
    assert reached_at(network, 8080, NEAR) == ("172.17.0.2", 8080)


def test_a_container_that_has_ended_has_no_address() -> None:
    assert reached_at({"Networks": {"bridge": {"IPAddress": ""}}, "Ports": {}}, 8080, NEAR) == ("127.0.0.1", 8080)
    assert reached_at({"Networks": {}, "Ports": {}}, 8080, FAR) == ("engine.example", 0)


def test_any_name_is_made_into_one_of_a_host() -> None:
    assert host_name("a.b_c") == "a-b-c"
    assert host_name("-") == "container"
    assert len(host_name("x" * 80)) == 63
