"""The sample containers as images: what SageMaker asks of a container, asked of each of them by itself."""

from __future__ import annotations

import http.client
import json
import runpy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from botocore.session import Session
from botocore.validate import ParamValidator
from docker.models.containers import Container

from emulator.containers.docker.leftovers import HOST_LABEL
from tests.support.docker_fixtures import machine_of_this_run
from tests.support.real_servers import models, tensors
from tests.support.real_servers.container import Answer, Caller
from tests.support.real_servers.images import SAMPLES, SCRIPTED_FILES, SCRIPTED_IMAGE, Images
from tests.support.waiting import eventually

pytestmark = pytest.mark.docker

PORT = 9001
PLATFORM = {
    "SAGEMAKER_MULTI_MODEL": "true",
    "SAGEMAKER_BIND_TO_PORT": str(PORT),
    "SAGEMAKER_SAFE_PORT_RANGE": "9100-9199",
}
MODEL = {"weights": [2, 3], "bias": 1}


@dataclass(frozen=True)
class Run(Caller):
    """A running image, and its /opt/ml on this machine."""

    container: Container
    opt_ml: Path

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}, timeout: float = 60
    ) -> Answer:
        """One call, as of any container; if it fails, the error says what became of this one."""
        try:
            return super().call(method, path, body, headers, timeout)
        except (OSError, http.client.HTTPException) as error:
            if path == "/ping":  # it is still starting
                raise
            self.container.reload()
            raise AssertionError(f"{error!r}: {self.container.attrs['State']}\n{self.log()}") from error

    def wait_until_healthy(self, seconds: float) -> None:
        """Wait for the first good ping."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(OSError, http.client.HTTPException):
                if self.ping().status == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"not healthy after {seconds} s:\n{self.log()}")

    def log(self) -> str:
        """All that it printed."""
        return self.container.logs().decode(errors="replace")

    def memory(self) -> int:
        """The bytes that its processes use."""
        stats = self.container.stats(stream=False)["memory_stats"]["stats"]
        return int(stats["rss"] if "rss" in stats else stats["anon"])  # cgroup v1, v2

    def load_files(self, name: str, files: Mapping[str, str | bytes], target_model: str | None = None) -> int:
        """Put a model where the platform does, and load it; the answer's status."""
        for path, content in files.items():
            file = self.opt_ml / "models" / name / "model" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        return self.load(name, Path("/opt/ml/models", name, "model"), target_model).status

    def load_json(self, name: str, **settings: Any) -> int:
        """Load a model that is a model.json."""
        return self.load_files(name, {"model.json": json.dumps(settings)})

    def stop(self) -> int:
        """Stop it as the platform does, which would kill it after 30 s; its exit code."""
        self.container.stop(timeout=30)
        return self.container.wait()["StatusCode"]


Runs = Callable[..., Run]


@pytest.fixture
def run(engine: docker.DockerClient, tmp_path: Path) -> Iterator[Runs]:
    """Run an image with SageMaker's environment, 2 GB of memory and an /opt/ml of its own."""
    with ExitStack() as stack:

        def run(image: str, port: int = PORT, files: Mapping[str, str] = {}, **environment: str | None) -> Run:
            opt_ml = tmp_path / str(len(list(tmp_path.iterdir())))
            for path, content in {"models/.keep": "", **files}.items():
                (opt_ml / path).parent.mkdir(parents=True, exist_ok=True)
                (opt_ml / path).write_text(content)
            container = engine.containers.create(
                image,
                ["serve"],
                environment={name: value for name, value in {**PLATFORM, **environment}.items() if value is not None},
                volumes={str(opt_ml): {"bind": "/opt/ml", "mode": "ro"}},
                ports={f"{port}/tcp": ("127.0.0.1", None)},
                mem_limit="2g",
                labels={HOST_LABEL: machine_of_this_run()},
            )
            stack.callback(container.remove, force=True)
            container.start()
            container.reload()
            [published] = container.ports.get(f"{port}/tcp") or [{"HostPort": "0"}]
            return Run(int(published["HostPort"]), container, opt_ml)

        yield run


def test_all_have_the_labels_that_sagemaker_asks_for(engine: docker.DockerClient, images: Images) -> None:
    prefix = "com.amazonaws.sagemaker.capabilities."
    for tag in (images.scripted(), images.plain(), images.multi_model_server(), images.triton()):
        labels = engine.images.get(tag).labels
        assert (labels[f"{prefix}multi-models"], labels[f"{prefix}accept-bind-to-port"]) == ("true", "true")
    assert engine.images.get(images.pipeline_step()).labels == {f"{prefix}accept-bind-to-port": "true"}


class TestPlain:
    def test_a_model_is_loaded_invoked_and_unloaded(self, run: Runs, images: Images) -> None:
        plain = run(images.plain())
        plain.wait_until_healthy(60)
        name = "0123456789abcdef" * 2
        assert plain.list().json() == {"models": []}
        assert plain.load_json(name, **MODEL) == 200
        assert plain.load_json(name, **MODEL) == 409
        described = {"modelName": name, "modelUrl": f"/opt/ml/models/{name}/model"}
        assert plain.list().json() == {"models": [described]}
        assert plain.get(name).json() == described
        answer = plain.invoke(name, b'{"features": [[1, 2], [3, 4]]}', target_model="a/b.tar.gz")
        assert (answer.json(), answer.headers["Content-Type"]) == ({"predictions": [9, 19]}, "application/json")
        answer = plain.invoke(name, b"1,2\n3,4\n", "text/csv", headers={"Accept": "text/csv"})
        assert (answer.body, answer.headers["Content-Type"]) == (b"9.0\n19.0\n", "text/csv")
        assert "/invoke" not in plain.log(), "a line for each invocation slows them down"
        assert plain.unload(name).status == 200
        for gone in (plain.unload(name), plain.get(name), plain.invoke(name, b"{}")):
            assert gone.status == 404

    def test_what_cannot_be_done_is_told(self, run: Runs, images: Images) -> None:
        plain = run(images.plain())
        plain.wait_until_healthy(60)
        assert plain.load("nowhere", Path("/opt/ml/models/nowhere/model")).status == 500
        assert plain.load_json("empty") == 500
        assert plain.load_json("models", **MODEL) == 200
        for body in (b"no JSON", b'{"features": [[1]]}', b'{"features": 1}', b"{}"):
            assert plain.invoke("models", body).status == 400
        assert plain.invoke("models", b'{"features": []}').json() == {"predictions": []}
        assert plain.call("POST", "/invocations", b"{}").status == 404
        assert plain.call("GET", "/models/models/more/of/it").status == 404

    def test_a_load_that_would_pass_the_limit_is_a_507(self, run: Runs, images: Images) -> None:
        plain = run(images.plain(), MODEL_MEMORY_MEGABYTES="100")
        plain.wait_until_healthy(60)
        assert plain.load_json("one", **MODEL, megabytes=60) == 200
        assert plain.load_json("two", **MODEL, megabytes=60) == 507
        assert plain.get("two").status == 404
        assert plain.memory() > 60 * 2**20
        assert plain.unload("one").status == 200
        assert plain.memory() < 60 * 2**20
        assert plain.load_json("two", **MODEL, megabytes=60) == 200

    def test_a_load_that_would_pass_the_containers_own_limit_is_a_507(self, run: Runs, images: Images) -> None:
        plain = run(images.plain())
        plain.wait_until_healthy(60)
        assert plain.load_json("more", **MODEL, megabytes=2 * 1024) == 507
        assert plain.load_json("one", **MODEL, megabytes=60) == 200

    def test_connections_are_kept(self, run: Runs, images: Images) -> None:
        plain = run(images.plain())
        plain.wait_until_healthy(60)
        plain.load_json("m", **MODEL)
        connection = http.client.HTTPConnection("127.0.0.1", plain.port, timeout=60)
        sockets = set()
        for _ in range(100):
            connection.request("POST", "/models/m/invoke", b'{"features": [[1, 2]]}')
            sockets.add(connection.sock)
            assert connection.getresponse().read() == b'{"predictions": [9.0]}'
        assert len(sockets) == 1

    def test_it_listens_on_8080_where_no_port_is_set_and_ends_with_sigterm(self, run: Runs, images: Images) -> None:
        plain = run(images.plain(), 8080, SAGEMAKER_BIND_TO_PORT=None)
        plain.wait_until_healthy(60)
        assert plain.stop() == 0


def test_multi_model_server_keeps_the_contract(run: Runs, images: Images) -> None:
    server = run(images.multi_model_server())
    server.wait_until_healthy(60)
    assert server.load_json("m", **MODEL) == 200
    assert server.load_json("m", **MODEL) == 409
    assert [model["modelName"] for model in server.list().json()["models"]] == ["m"]
    answer = server.invoke("m", b'{"features": [[1, 2], [3, 4]]}')
    assert (answer.json(), answer.headers["Content-Type"]) == ({"predictions": [9, 19]}, "application/json")
    answer = server.invoke("m", b"1,2", "text/csv", headers={"Accept": "text/csv"})
    assert (answer.body, answer.headers["Content-Type"]) == (b"9.0\n", "text/csv")
    assert server.invoke("m", b"no JSON").status == 400
    assert server.load_json("big", **MODEL, megabytes=10**7) == 507
    # As the platform does: it may be registered all the same, and would be tried again, for which SIGTERM would wait.
    server.unload("big")
    assert server.unload("m").status == 200
    assert server.get("m").status == 404
    assert server.stop() == 0, server.log()


def triton_files(directory: Path, subdirectory: str) -> dict[str, bytes]:
    """The files of a model that multiplies by 3."""
    archive = models.triton_model(directory / "archive", "m.tar.gz", 3, subdirectory=subdirectory)
    unpacked = models.unpack(archive, directory / "unpacked")
    return {str(path.relative_to(unpacked)): path.read_bytes() for path in unpacked.rglob("*") if path.is_file()}


def test_triton_keeps_the_contract(run: Runs, images: Images, tmp_path: Path) -> None:
    server = run(images.triton())
    server.wait_until_healthy(60)
    layouts = {f"{number:032x}": subdirectory for number, subdirectory in enumerate(("multiplier/", ""))}
    for name, subdirectory in layouts.items():
        files = triton_files(tmp_path / name, subdirectory)
        assert server.load_files(name, files, f"{name}.tar.gz") == 200, server.log()
        for body, content_type in (tensors.json_request([1, 2.5]), tensors.binary_request([1, 2.5])):
            answer = server.invoke(name, body, content_type, f"{name}.tar.gz")
            assert tensors.answered(answer.body, answer.headers["Content-Type"]) == [3, 7.5]
    for name in layouts:
        assert server.unload(name, f"{name}.tar.gz").status == 200
        assert server.get(name).status == 404
    assert server.stop() == 0


class TestPipeline:
    def test_its_steps_and_the_plain_container_answer_in_turn(self, run: Runs, images: Images, tmp_path: Path) -> None:
        made = runpy.run_path(str(SAMPLES / "make_models.py"))
        made["main"](tmp_path / "made")
        step = models.unpack(tmp_path / "made" / "before.tar.gz", tmp_path / "step") / "step.json"
        city = models.unpack(tmp_path / "made" / "many" / "lisbon.tar.gz", tmp_path / "lisbon") / "model.json"
        role_after = containers()["after"]["Environment"]["STEP"]
        before = run(images.pipeline_step(), files={"model/step.json": step.read_text()}, SAGEMAKER_MULTI_MODEL=None)
        plain = run(images.plain())
        after = run(images.pipeline_step(), SAGEMAKER_MULTI_MODEL=None, STEP=role_after)
        for container in (before, plain, after):
            container.wait_until_healthy(60)
        plain.load_json("m", **json.loads(city.read_text()))

        csv = {"Content-Type": "text/csv"}
        features = before.call("POST", "/invocations", b"3,80\n2,50\n", csv)
        assert (features.status, features.json()) == (200, {"features": [[1, 1], [0, -2]]})
        predictions = plain.invoke("m", features.body, features.headers["Content-Type"])
        assert predictions.json() == {"predictions": [307, 190]}
        results = after.call("POST", "/invocations", predictions.body)
        assert results.json() == {"results": [{"value": 307, "label": "dear"}, {"value": 190, "label": "cheap"}]}
        assert after.call("POST", "/invocations", predictions.body, {"Accept": "text/csv"}).body == (
            b"307.0,dear\n190.0,cheap\n"
        )
        assert before.call("POST", "/invocations", b'{"instances": [[2, 70]]}').json() == {"features": [[0, 0]]}
        assert before.call("POST", "/invocations", b"rooms,area", csv).status == 400
        assert before.list().status == 404
        assert before.stop() == 0

    def test_its_description_is_what_boto3_takes(self) -> None:
        described = yaml.safe_load((SAMPLES / "pipeline" / "endpoint.yaml").read_text())
        api = Session().get_service_model("sagemaker")
        for kind, operation in (
            ("Models", "CreateModel"),
            ("EndpointConfigs", "CreateEndpointConfig"),
            ("Endpoints", "CreateEndpoint"),
        ):
            [arguments] = described.pop(kind)
            shape = api.operation_model(operation).input_shape
            assert not ParamValidator().validate(arguments, shape).generate_report()
        assert not described


def containers() -> dict[str, dict[str, Any]]:
    """The containers of the pipeline sample, by host name."""
    [model] = yaml.safe_load((SAMPLES / "pipeline" / "endpoint.yaml").read_text())["Models"]
    return {container["ContainerHostname"]: container for container in model["Containers"]}


class TestScripted:
    def test_it_runs_as_an_image(self, run: Runs, images: Images) -> None:
        cues = json.dumps({"invoke": {"environment": True}})
        scripted = run(images.scripted(), SCRIPT=cues, SCRIPT_JOURNAL="/dev/stdout")
        scripted.wait_until_healthy(60)
        assert scripted.load_files("m", {"answer.txt": "I am m"}) == 200
        answer = scripted.invoke("m", b"").json()
        assert (answer["answer"], answer["environment"]["SAGEMAKER_BIND_TO_PORT"]) == ("I am m", str(PORT))
        eventually(lambda: '"call": "load"' in scripted.log(), what="the engine has the line")
        assert scripted.stop() == 0

    def test_variations_are_built_on_demand(self, run: Runs, images: Images) -> None:
        lines = [SCRIPTED_IMAGE, 'ENTRYPOINT ["sh", "-c", "echo no luck; exit 3"]']
        exits = images.build("exits", "\n".join(lines), SCRIPTED_FILES)
        assert exits == images.build("exits", "\n".join(lines), SCRIPTED_FILES)
        ended = run(exits)
        assert ended.container.wait()["StatusCode"] == 3
        assert ended.log() == "no luck\n"
