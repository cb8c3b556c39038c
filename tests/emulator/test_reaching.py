"""How clients reach an emulator: by its addresses and names, by AWS's through a proxy, from containers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import docker
import pytest
from botocore.config import Config

import localmme
from localmme import python_api
from localmme.cli.serve import serve
from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.own_addresses import own_addresses
from tests.support.real_servers.images import Images

HANDLER = """
def model_fn(directory): return None
def transform_fn(model, data, content_type, accept): return data, "text/plain"
"""
ASK = """
import sys, urllib.error, urllib.request
for url in sys.argv[1:]:
    try:
        print(urllib.request.urlopen(url + "/b/object", timeout=60).read().decode())
    except urllib.error.HTTPError as error:
        print(error.code, error.read().decode())
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One that others than this machine reach, by a name of a compose file."""
    directory = tmp_path_factory.mktemp("reached")
    archive(directory / "s3" / "b" / "a.tar.gz", {"code/inference.py": HANDLER})
    (directory / "s3" / "b" / "object").write_text("hello")
    options = ["--host", "0.0.0.0", "--allow-host", "localmme", "--allow-host", "*.localmme"]
    emulator = Emulator("--models", str(directory / "s3"), *options, state=directory / "state")
    try:
        yield emulator.wait_in_service()
    finally:
        emulator.stop()


def port(emulator: Emulator) -> str:
    return emulator.url.rpartition(":")[2]


def client(service: str, url: str | None, **config: Any) -> Any:
    """boto3's, which tries once."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="placeholder",
        aws_secret_access_key="placeholder",
        config=Config(**{"retries": {"total_max_attempts": 1}, **config}),
    )


def invoked(runtime: Any) -> bytes:
    arguments = {"EndpointName": "local", "TargetModel": "b/a.tar.gz", "ContentType": "text/plain"}
    return bytes(runtime.invoke_endpoint(**arguments, Body=b"body")["Body"].read())


def test_by_each_address_of_this_machine_and_by_localhost(emulator: Emulator) -> None:
    for host in ("localhost", *own_addresses()):
        url = f"http://{host}:{port(emulator)}"
        assert invoked(client("sagemaker-runtime", url)) == b"body", host
        assert client("s3", url).get_object(Bucket="b", Key="object")["Body"].read() == b"hello", host


def test_by_aws_s_names_through_a_proxy(emulator: Emulator) -> None:
    """A client that is given an address of AWS's sends it as a whole to its proxy, which is the emulator."""
    proxies = {"http": f"http://127.0.0.1:{port(emulator)}"}
    assert invoked(client("sagemaker-runtime", "http://runtime.sagemaker.us-east-1.amazonaws.com", proxies=proxies))
    s3 = client("s3", "http://s3.us-east-1.amazonaws.com", proxies=proxies, s3={"addressing_style": "virtual"})
    assert s3.get_object(Bucket="b", Key="object")["Body"].read() == b"hello"
    assert client("sts", "http://sts.us-east-1.amazonaws.com", proxies=proxies).get_caller_identity()["Account"]


@pytest.mark.parametrize(
    "host, status",
    [("localmme", 200), ("any.localmme", 200), ("b.localhost", 200), ("192.0.2.1", 403), ("other", 403)],
)
def test_curl_names_hosts(emulator: Emulator, host: str, status: int) -> None:
    path = "/object" if host == "b.localhost" else "/b/object"
    address = f"{host}:{port(emulator)}"
    command = ["curl", "-sS", "--max-time", "20", "-w", " %{http_code}", "--resolve", f"{address}:127.0.0.1"]
    ended = subprocess.run([*command, f"http://{address}{path}"], capture_output=True, text=True, check=True)
    assert ended.stdout.endswith(f" {status}"), ended.stdout + ended.stderr
    assert ("hello" in ended.stdout) == (status == 200)
    assert (f"--allow-host {host}." in ended.stdout) == (status == 403)


@pytest.mark.docker
def test_from_a_container_in_a_network(emulator: Emulator, engine: docker.DockerClient, images: Images) -> None:
    network = engine.networks.create(f"localmme-test-{port(emulator)}")
    try:
        gateway = network.attrs["IPAM"]["Config"][0].get("Gateway") or "172.17.0.1"
        names = dict.fromkeys(("localmme", "host.docker.internal", "unknown"), gateway)
        urls = [f"http://{host}:{port(emulator)}" for host in (*names, gateway)]
        told = engine.containers.run(
            images.base(), ["python3", "-c", ASK, *urls], network=network.name, extra_hosts=names, remove=True
        ).decode()
    finally:
        network.remove()
    assert told.splitlines().count("hello") == 3, told  # by the allowed name, by the engine's, and by the address
    assert told.count("--allow-host unknown.") == 1


# Options on their way to the emulator


def test_the_python_api_hands_them_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []

    class Started:
        def _wait_in_service(self, _: float) -> None: ...

    def launched(arguments: list[str], _: Any) -> Started:
        given.append(arguments)
        return Started()

    monkeypatch.setattr(python_api, "_launched", launched)
    localmme.serve(models="m", allow_hosts=["a", "b"], allow_origins="http://c", local_code=False)
    localmme.serve(models="m", local_code=True)
    localmme.serve(models="m")
    first, second, third = (
        [word for word in words if word.startswith(("--allow", "--local", "--no-local"))] for words in given
    )
    assert first == ["--allow-host=a", "--allow-host=b", "--allow-origin=http://c", "--no-local-code"]
    assert (second, third) == (["--local-code"], [])


@pytest.mark.parametrize("words", [["--no-local-code"], ["--local-code"], ["--allow-host=a", "--allow-host=b"], []])
def test_a_detached_emulator_gets_what_was_written(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []

    class Found:
        name, url = "n", "u"

    def detach(arguments: list[str], _: Path) -> Any:
        given.append(arguments)
        return Found()

    monkeypatch.setattr("localmme.background.detach", detach)
    serve.main(["--no-endpoint", "--detach", "--port", "1234", *words], standalone_mode=False)
    assert given == [["--no-endpoint", *words, "--port=1234"]]
