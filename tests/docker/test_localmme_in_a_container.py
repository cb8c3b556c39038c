"""samples/docker: localmme as an image, by itself and beside an application, as Docker Compose runs them."""

from __future__ import annotations

import configparser
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import docker
import pytest
import yaml
from docker.models.containers import Container

from emulator.containers.docker.leftovers import HOST_LABEL
from tests.support.docker_fixtures import machine_of_this_run, tagged
from tests.support.files import archive
from tests.support.real_servers.base_image import PYTHON, each
from tests.support.real_servers.images import FROM, Images
from tests.support.real_servers.making import CACHE, NotProvisioned, apt_install, lock, run
from tests.support.repository import REPOSITORY
from tests.support.waiting import eventually

pytestmark = pytest.mark.docker

SAMPLE = REPOSITORY / "samples" / "docker"
COPIED = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "localmme", "emulator")


def wheels() -> dict[str, bytes]:
    """What localmme needs, for the base image's Python, as it is in a package index; downloaded once per machine."""
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    needed = [settings["options"]["install_requires"], settings["options.extras_require"]["aws"], "setuptools>=64"]
    requirements = [line for text in needed for line in text.split()]
    directory = CACHE / f"wheels-{hashlib.sha256(' '.join(requirements).encode()).hexdigest()[:12]}"
    with lock(CACHE / f"{directory.name}.lock"):
        if not directory.exists():
            partial = directory.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            platforms = (f"manylinux_2_{minor}_{platform.machine()}" for minor in range(36, 16, -1))
            kind = [f"--python-version={PYTHON}", "--implementation=cp", "--only-binary=:all:"]
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
            run([*pip, f"--dest={partial}", *kind, *each("--platform=", platforms), *requirements])
            partial.rename(directory)
    return {f"wheels/{path.name}": path.read_bytes() for path in directory.iterdir()}


def files_of(*names: str) -> Iterator[tuple[str, bytes]]:
    for name in names:
        path = REPOSITORY / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                yield str(file.relative_to(REPOSITORY)), file.read_bytes()


@pytest.fixture(scope="module")
def localmme(images: Images) -> str:
    """The image of localmme. Its base stands for an image of Python and a package index."""
    try:
        base = images.build("python-packages", f"{FROM}COPY wheels /wheels\n", wheels())
    except NotProvisioned as reason:
        pytest.skip(str(reason))
    return images.build("localmme", (SAMPLE / "Dockerfile").read_text(), dict(files_of(*COPIED)), base=base)


@pytest.fixture(scope="module")
def application(images: Images, localmme: str) -> str:
    base = images.build("python-packages", f"{FROM}COPY wheels /wheels\n", wheels())
    program = (SAMPLE / "application" / "application.py").read_bytes()
    dockerfile = (SAMPLE / "application" / "Dockerfile").read_text()
    return images.build("application", dockerfile, {"application.py": program}, base=base)


@pytest.fixture(scope="module")
def compose() -> str:
    """Docker Compose as Debian has it."""
    if not shutil.which("docker-compose"):
        try:
            apt_install("docker-compose", otherwise="Docker Compose is installed by apt-get, which takes root")
        except NotProvisioned as reason:
            pytest.skip(str(reason))
    return "docker-compose"


def test_an_application_beside_it_invokes_its_models(
    engine: docker.DockerClient, localmme: str, application: str, compose: str, tmp_path: Path
) -> None:
    described = yaml.safe_load((SAMPLE / "compose.yaml").read_text())
    described["services"]["localmme"]["ports"] = []  # 8080 is somebody else's
    mine = {"labels": {HOST_LABEL: machine_of_this_run()}}
    for service in described["services"].values():
        service.update(mine)
    described |= {"networks": {"default": mine}, "volumes": {"state": mine}}
    (tmp_path / "compose.yaml").write_text(json.dumps(described))
    project = f"localmme-test-{uuid.uuid4().hex}"
    command = [compose, f"--project-name={project}", f"--project-directory={SAMPLE}", f"--file={tmp_path}/compose.yaml"]
    try:
        with tagged(engine, {"localmme:latest": localmme, "localmme-application:latest": application}):
            ended = subprocess.run(
                [*command, "up", "--no-color", "--no-build", "--exit-code-from=application"],
                capture_output=True, text=True, timeout=240,
            )  # fmt: skip
        assert ended.returncode == 0, ended.stdout + ended.stderr
        for line in ("lisbon.tar.gz [210000.0, 420000.0]", "porto.tar.gz [150000.0, 300000.0]"):
            assert line in ended.stdout, ended.stdout
    finally:
        subprocess.run([*command, "down", "--volumes"], capture_output=True, check=True, timeout=120)


@pytest.fixture
def container(engine: docker.DockerClient, localmme: str, tmp_path: Path) -> Iterator[Container]:
    """The image as it starts by itself, with an S3 of this machine."""
    tmp_path.chmod(0o755)
    s3 = tmp_path / "s3"
    archive(
        s3 / "models" / "lisbon.tar.gz",
        {"model.json": '{"price": 2}', "code/inference.py": (SAMPLE / "handler.py").read_text()},
    )
    for path in (s3, *s3.rglob("*")):
        path.chmod(0o777)
    container = engine.containers.run(
        localmme,
        detach=True,
        volumes={str(s3): {"bind": "/s3"}},
        ports={"8080/tcp": ("127.0.0.1", None)},
        labels={HOST_LABEL: machine_of_this_run()},
    )
    try:
        yield container
    finally:
        container.remove(force=True, v=True)


def test_by_itself_it_serves_s3_and_the_api_as_a_user_without_privileges(container: Container, tmp_path: Path) -> None:
    eventually(lambda: health(container) == "healthy", what="it is healthy", seconds=120)
    [published] = container.ports["8080/tcp"]
    known = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
    url = f"http://127.0.0.1:{published['HostPort']}"
    s3 = boto3.client("s3", endpoint_url=url, **known)
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="models")["Contents"]] == ["lisbon.tar.gz"]
    s3.put_object(Bucket="models", Key="new/porto.tar.gz", Body=b"more")
    assert (tmp_path / "s3" / "models" / "new" / "porto.tar.gz").stat().st_uid == 10001
    assert boto3.client("sts", endpoint_url=url, **known).get_caller_identity()["Account"] == "123456789012"
    assert container.exec_run(["id", "-un"]).output.strip() == b"localmme"
    assert container.exec_run(["touch", "/opt/localmme/x"]).exit_code != 0
    container.stop(timeout=30)
    assert container.wait()["StatusCode"] == 0, container.logs().decode()


def health(container: Container) -> str:
    container.reload()
    assert container.status == "running", container.logs().decode()
    return str(container.attrs["State"]["Health"]["Status"])
