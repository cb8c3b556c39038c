"""Code in a Docker container calls AWS as on SageMaker; and nobody but containers comes to where it does."""

from __future__ import annotations

import importlib
import io
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from emulator.containers.docker.aws_network import ADDRESS, NAME
from emulator.containers.docker.leftovers import OWNER_LABEL
from tests.support.asks_aws import SEEN, SERVER
from tests.support.emulator_in_process import InProcessEmulator, in_process_emulators
from tests.support.files import archive
from tests.support.real_servers.images import FROM, MULTI_MODEL_LABEL, Images

pytestmark = pytest.mark.docker

PACKAGES = ["boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3"]
SERVICES = {"s3", "sts"}  # of botocore's data, all of which are 100 MB
IMAGE = f"""{FROM}{MULTI_MODEL_LABEL}
ADD packages.tar /packages
COPY server.py /
ENV PYTHONPATH=/packages
ENTRYPOINT ["python", "/server.py"]
"""


def packages() -> bytes:
    """boto3 as it is installed here, with two services; the same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in PACKAGES:
            file = Path(str(importlib.import_module(name).__file__))
            root = file.parent if file.name == "__init__.py" else file
            for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
                parts = path.relative_to(root.parent).parts
                is_left_out = parts[:2] == ("botocore", "data") and len(parts) > 3 and parts[2] not in SERVICES
                if path.is_file() and "__pycache__" not in parts and not is_left_out:
                    member = tarfile.TarInfo("/".join(parts))
                    member.size = path.stat().st_size
                    tar.addfile(member, io.BytesIO(path.read_bytes()))
    return buffer.getvalue()


@pytest.fixture
def emulator(images: Images, tmp_path: Path) -> Iterator[InProcessEmulator]:
    archive(tmp_path / "s3" / "models" / "a.tar.gz", {"weights": "1"})
    (tmp_path / "s3" / "features").mkdir()
    (tmp_path / "s3" / "features" / "feature.txt").write_text("0.25")
    image = images.build("boto3", IMAGE, {"packages.tar": packages(), "server.py": SERVER})
    with in_process_emulators(tmp_path) as start:
        models = ["--models", str(tmp_path / "s3" / "models"), "--s3", str(tmp_path / "s3")]
        yield start(*models, "--image", image).wait_in_service(90)


def test_boto3_in_an_image_finds_region_endpoint_and_credentials(
    engine: docker.DockerClient, emulator: InProcessEmulator
) -> None:
    assert emulator.invoke("a.tar.gz") == [SEEN, SEEN]
    # Nobody else gets in: a process of this machine, which other users have as well, is not answered.
    [container] = engine.containers.list(filters={"label": f"{OWNER_LABEL}={emulator.state_directory.resolve()}"})
    variables = dict(each.split("=", 1) for each in container.attrs["Config"]["Env"])
    host, _, port = variables["AWS_ENDPOINT_URL"].removeprefix("http://").partition(":")
    assert host == ADDRESS
    with socket.create_connection((host, int(port)), timeout=10) as intruder:
        intruder.settimeout(10)
        try:
            intruder.sendall(b"GET /_localmme/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = intruder.recv(100)
        except ConnectionError:
            received = b""
    assert received == b""
    assert engine.networks.list(names=[NAME])[0].attrs["Internal"]
