"""The sample images, served by the emulator: loaded, invoked, evicted, killed and replaced.

The emulators are in the tests' own process; as users start them, the same images are served in tests/documents.
"""

from __future__ import annotations

import http.client
import json
import random
import runpy
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from botocore.exceptions import ClientError
from docker.models.containers import Container

from emulator.containers.docker.leftovers import OWNER_LABEL
from emulator.containers.memory_limit import KERNEL, MemoryLimit
from tests.support.aws_clients import refused
from tests.support.emulator_in_process import InProcessEmulator, in_process_emulators
from tests.support.emulator_process import RunningEmulator
from tests.support.endpoint_files import described, many, variant
from tests.support.files import archive
from tests.support.real_servers import tensors
from tests.support.real_servers.images import BIND_TO_PORT_LABEL, SAMPLES, SCRIPTED_FILES, SCRIPTED_IMAGE, Images
from tests.support.real_servers.models import triton_model
from tests.support.scripted_models import scripted_model
from tests.support.waiting import eventually

pytestmark = pytest.mark.docker

Serve = Callable[..., InProcessEmulator]
MIB = 2**20
KERNEL_KILLED_ONE = MemoryLimit(600 * MIB, KERNEL).continues("primary")
ROWS = b'{"features": [[1, 2], [3, 4]]}'
# What a container says of itself, from the inside.
TELL = """
import json, os, socket
there = {name: sorted(os.listdir(f"/opt/ml/{name}")) for name in sorted(os.listdir("/opt/ml"))}
print(json.dumps({"environment": dict(os.environ), "host_name": socket.gethostname(), "there": there}))
"""


@contextmanager
def serving(engine: docker.DockerClient, directory: Path) -> Iterator[Serve]:
    """``localmme serve`` with these arguments. Once an emulator has stopped, none of its containers may be left."""
    emulators: list[InProcessEmulator] = []
    with in_process_emulators(directory) as start:

        def serve(*arguments: str) -> InProcessEmulator:
            emulators.append(start(*arguments))
            return emulators[-1].wait_in_service(90)

        yield serve
    for emulator in emulators:
        assert containers(engine, emulator) == []


@pytest.fixture
def serve(engine: docker.DockerClient, tmp_path: Path) -> Iterator[Serve]:
    """Start an emulator for one test."""
    with serving(engine, tmp_path / "served") as serve:
        yield serve


@pytest.fixture(scope="class")
def serve_all(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start an emulator for all tests of a class."""
    with serving(engine, tmp_path_factory.mktemp("served")) as serve:
        yield serve


@pytest.fixture(scope="class")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bucket of all tests of a class."""
    return tmp_path_factory.mktemp("s3")


def containers(engine: docker.DockerClient, emulator: RunningEmulator) -> list[Container]:
    """Those that the emulator has made and not removed."""
    label = f"{OWNER_LABEL}={emulator.state_directory.resolve()}"
    return engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)


def container(engine: docker.DockerClient, emulator: RunningEmulator, host_name: str = "primary") -> Container:
    """The one of this host name."""
    [found] = [each for each in containers(engine, emulator) if each.attrs["Config"]["Hostname"] == host_name]
    return found


def linear_model(path: Path, *weights: float, **settings: Any) -> Path:
    """An archive for the plain container and for Multi Model Server."""
    return archive(path, {"model.json": json.dumps({"weights": weights, "bias": 0.5, **settings})})


def predicted(number: float) -> dict[str, list[float]]:
    """What a model of the weights (number, 1) and the bias 0.5 answers to ``ROWS``."""
    return {"predictions": [number + 2.5, 3 * number + 4.5]}


def restarts(emulator: RunningEmulator) -> list[int]:
    """How often each container was replaced; -1 while it is being replaced."""
    return [each["restarts"] if each["healthy"] else -1 for each in emulator.instance()["containers"]]


def model_name(emulator: RunningEmulator, target_model: str) -> str:
    """The name that the container has for a model in memory."""
    listed = emulator.instance()["memory"]["models"]
    return next(model["model_name"] for model in listed if model["target_model"] == target_model)


def behind(emulator: RunningEmulator, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    """Call the container itself, past the emulator."""
    connection = http.client.HTTPConnection(emulator.container()["address"], timeout=60)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def sample_models(directory: Path) -> dict[str, tuple[list[float], float]]:
    """Have the samples' script write its archives; the weights and the bias by city."""
    made = runpy.run_path(str(SAMPLES / "make_models.py"))
    made["main"](directory)
    return made["CITIES"]


@pytest.fixture(scope="class")
def cities(shared: Path) -> dict[str, tuple[list[float], float]]:
    return sample_models(shared)


@pytest.fixture(scope="class")
def plain(serve_all: Serve, images: Images, shared: Path, cities: Any) -> RunningEmulator:
    arguments = ("--models", str(shared / "many"), "--max-loaded-models", "2")
    return serve_all("--image", images.plain(), *arguments)


class TestPlain:
    def test_each_model_answers_in_json_and_csv(self, plain: RunningEmulator, cities: Any) -> None:
        for city, ((one, other), bias) in cities.items():
            right = [bias + one + 2 * other, bias + 3 * one + 4 * other]
            assert plain.invoke(f"{city}.tar.gz", ROWS) == {"predictions": right}
            csv = plain.invoke(f"{city}.tar.gz", b"1,2\n3,4\n", ContentType="text/csv", Accept="text/csv")
            assert [float(line) for line in csv.split()] == right

    def test_the_least_recently_used_is_evicted_and_loaded_again(self, plain: RunningEmulator) -> None:
        for city in ("lisbon", "porto", "faro"):
            plain.invoke(f"{city}.tar.gz", ROWS)
        assert plain.in_memory() == {"porto.tar.gz", "faro.tar.gz"}
        before = plain.model("lisbon.tar.gz")
        plain.invoke("lisbon.tar.gz", ROWS)
        after = plain.model("lisbon.tar.gz")
        assert (after["loads"], after["downloads"]) == (before["loads"] + 1, 1)
        assert plain.in_memory() == {"faro.tar.gz", "lisbon.tar.gz"}

    def test_it_knows_models_by_opaque_names_below_opt_ml(self, plain: RunningEmulator) -> None:
        plain.invoke("faro.tar.gz", ROWS)
        name = model_name(plain, "faro.tar.gz")
        assert len(name) == 32 and int(name, 16)
        status, body = behind(plain, "GET", f"/models/{name}")
        assert (status, json.loads(body)) == (200, {"modelName": name, "modelUrl": f"/opt/ml/models/{name}/model"})

    def test_errors_are_those_of_sagemaker(self, plain: RunningEmulator, shared: Path) -> None:
        response = refused(plain.invoke, "lisbon.tar.gz", b"no JSON").response
        assert response["Error"]["Code"] == "ModelError"
        assert response["OriginalStatusCode"] == 400
        assert "the request cannot be read" in json.loads(response["OriginalMessage"])["error"]
        assert "Received client error (400) from primary with message" in response["Error"]["Message"]
        assert response["LogStreamArn"].endswith(":log-group:/aws/sagemaker/Endpoints/local")

        response = refused(plain.invoke, "madrid.tar.gz", ROWS).response
        assert response["Error"]["Code"] == "ValidationError"
        assert "Failed to download model data" in response["Error"]["Message"]

        archive(shared / "many" / "empty.tar.gz", {"readme.txt": "no model"})
        response = refused(plain.invoke, "empty.tar.gz", ROWS).response
        assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 500)
        assert "the model cannot be loaded" in response["OriginalMessage"]

        with pytest.raises(ClientError, match="is missing a target model header") as caught:
            plain.client().invoke_endpoint(EndpointName="local", Body=ROWS)
        assert caught.value.response["Error"]["Code"] == "ValidationError"

    def test_what_it_did_not_expect_is_a_500_and_not_a_lost_connection(self, plain: RunningEmulator) -> None:
        response = refused(plain.invoke, "lisbon.tar.gz", b'{"features": [[1, 1%s]]}' % (b"0" * 400)).response
        assert response["OriginalStatusCode"] == 500
        assert "OverflowError" in response["OriginalMessage"]
        assert restarts(plain) == [0]

    def test_507_makes_room_until_the_model_fits(self, serve: Serve, images: Images, bucket: Path) -> None:
        for number, name in enumerate("abcd", 1):
            linear_model(bucket / name, number, 1, megabytes=20 * number)
        linear_model(bucket / "huge", 1, 1, megabytes=101)
        emulator = serve("--image", images.plain(), "--models", str(bucket), "--env", "MODEL_MEMORY_MEGABYTES=100")
        for number, name in enumerate("abcd", 1):  # 20 + 40, + 60 - 20 = 100, + 80 - 40 - 60 = 80
            assert emulator.invoke(name, ROWS) == predicted(number)
            assert name in emulator.in_memory()
        assert emulator.in_memory() == {"d"}
        emulator.wait_until_logged("  | POST /models 507 d")
        assert all(emulator.model(name)["model_errors"] == 0 for name in "abcd")
        response = refused(emulator.invoke, "huge", ROWS).response
        assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 507)
        assert emulator.in_memory() == set()
        assert emulator.invoke("a", ROWS) == predicted(1)

    def test_memory_of_models_that_come_and_go_is_given_back(self, serve: Serve, images: Images, bucket: Path) -> None:
        for number in range(4):
            linear_model(bucket / f"{number}", number, 1, megabytes=20)
        emulator = serve("--image", images.plain(), "--models", str(bucket), "--max-loaded-models", "2")
        emulator.client()
        with ThreadPoolExecutor(8) as callers:
            numbers = [call % 4 for call in range(400)]
            answers = list(callers.map(lambda number: emulator.invoke(f"{number}", ROWS), numbers))
        assert answers == [predicted(number) for number in numbers]
        assert sum(emulator.model(f"{number}")["loads"] for number in range(4)) > 20
        assert emulator.instance()["memory"]["used_bytes"] < 100 * MIB

    def test_reload_serves_a_changed_archive(self, serve: Serve, images: Images, bucket: Path) -> None:
        emulator = serve("--image", images.plain(), "--models", str(bucket), "--reload")
        for number in range(1, 6):
            linear_model(bucket / "a", number, 1)
            assert emulator.invoke("a", ROWS) == predicted(number)

    def test_without_cache_models_are_unloaded_and_deleted(self, serve: Serve, images: Images, bucket: Path) -> None:
        linear_model(bucket / "a", 1, 1)
        emulator = serve("--image", images.plain(), "--models", str(bucket), "--no-cache")
        for _ in range(3):
            assert emulator.invoke("a", ROWS) == predicted(1)
            eventually(lambda: not emulator.in_memory() | emulator.on_disk())
        assert json.loads(behind(emulator, "GET", "/models")[1]) == {"models": []}

    def test_instances_share_the_models_and_stand_in_for_each_other(
        self, serve: Serve, images: Images, bucket: Path, engine: docker.DockerClient
    ) -> None:
        for number in range(4):
            linear_model(bucket / f"{number}", number, 1)
        emulator = serve("--image", images.plain(), "--models", str(bucket), "--instances", "2")
        for number in range(4):
            assert emulator.invoke(f"{number}", ROWS) == predicted(number)
        assert [len(instance["memory"]["models"]) for instance in emulator.instances()] == [2, 2]
        addresses = {instance["containers"][0]["address"] for instance in emulator.instances()}
        assert len(addresses) == 2
        containers(engine, emulator)[0].kill()
        eventually(lambda: sum(instance["containers"][0]["restarts"] for instance in emulator.instances()) == 1)
        for number in range(4):
            assert emulator.invoke(f"{number}", ROWS) == predicted(number)


@pytest.fixture(scope="class")
def mms(serve_all: Serve, images: Images, shared: Path) -> RunningEmulator:
    arguments = ("--models", str(shared), "--max-loaded-models", str(TestMultiModelServer.MOST))
    return serve_all("--image", images.multi_model_server(), *arguments)


@pytest.fixture
def mms_on_a_small_instance(serve: Serve, images: Images, shared: Path) -> RunningEmulator:
    """For one test: how much a model takes is guessed from those that were loaded before."""
    return serve("--image", images.multi_model_server(), "--models", str(shared), "--memory", "600MiB")


class TestMultiModelServer:
    MOST = 3

    def test_models_are_loaded_invoked_evicted_and_loaded_again(self, mms: RunningEmulator, shared: Path) -> None:
        names = [f"numbers/{number}.tar.gz" for number in range(self.MOST + 1)]
        for number, name in enumerate(names):
            linear_model(shared / name, number, 1)
            assert mms.invoke(name, ROWS) == predicted(number)
        assert mms.in_memory() == set(names[1:])
        assert mms.invoke(names[0], ROWS) == predicted(0)
        first = mms.model(names[0])
        assert (first["loads"], first["downloads"], first["invocations"]) == (2, 1, 2)
        assert mms.invoke(names[0], b"1,2\n3,4", ContentType="text/csv", Accept="text/csv") == b"2.5\n4.5\n"

    def test_models_that_come_and_go_under_load_all_answer_right(self, mms: RunningEmulator, shared: Path) -> None:
        for number in range(6):
            linear_model(shared / f"busy/{number}", number, 1, megabytes=10)
        before = restarts(mms)
        mms.client()
        with ThreadPoolExecutor(8) as callers:
            numbers = [(call // 10 + call) % 6 for call in range(160)]
            answers = list(callers.map(lambda number: mms.invoke(f"busy/{number}", ROWS), numbers))
        assert answers == [predicted(number) for number in numbers]
        assert sum(mms.model(f"busy/{number}")["loads"] for number in range(6)) > 6
        assert len(mms.in_memory()) <= self.MOST
        assert restarts(mms) == before

    def test_a_model_out_of_memory_is_a_507_and_leaves_nothing(self, mms: RunningEmulator, shared: Path) -> None:
        linear_model(shared / "small", 2, 1)
        linear_model(shared / "large", 3, 1, megabytes=10**7)
        mms.invoke("small", ROWS)
        for _ in range(2):  # a second time as the first: it did not stay registered
            response = refused(mms.invoke, "large", ROWS).response
            assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 507)
            # What the server lists is another matter: it may register a model after it has refused and forgotten it.
            assert not mms.in_memory()
        # The container comes to know the model by the same name.
        linear_model(shared / "small", 2, 1)
        assert mms.invoke("small", ROWS) == predicted(2)

    def test_a_handler_that_fails_is_a_503(self, mms: RunningEmulator, shared: Path) -> None:
        linear_model(shared / "fails", 1.5, 1)
        response = refused(mms.invoke, "fails", b'{"features": [[1%s, 1]]}' % (b"0" * 400)).response
        assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 503)
        assert "Prediction failed" in response["OriginalMessage"]
        mms.wait_until_logged("OverflowError: int too large to convert to float")
        assert refused(mms.invoke, "fails", b"no JSON").from_the_container == ("ModelError", 400)
        assert mms.invoke("fails", ROWS) == predicted(1.5)

    def test_a_server_that_is_killed_inside_is_replaced(
        self, mms: RunningEmulator, shared: Path, engine: docker.DockerClient
    ) -> None:
        linear_model(shared / "survivor", 5, 1)
        assert mms.invoke("survivor", ROWS) == predicted(5)
        [before] = restarts(mms)
        container(engine, mms).exec_run(["sh", "-c", "kill -9 $(pidof java)"])
        eventually(lambda: restarts(mms) == [before + 1])
        assert mms.in_memory() == set()
        assert mms.invoke("survivor", ROWS) == predicted(5)
        assert mms.model("survivor")["loads"] == 2

    def test_a_model_larger_than_the_instance_costs_its_worker_only(
        self, mms_on_a_small_instance: RunningEmulator, shared: Path
    ) -> None:
        emulator = mms_on_a_small_instance
        linear_model(shared / "little", 1, 1)
        linear_model(shared / "larger", 2, 1, megabytes=900)
        assert emulator.invoke("little", ROWS) == predicted(1)
        response = refused(emulator.invoke, "larger", ROWS).response
        assert response["OriginalStatusCode"] == 500 and "Failed to start workers" in response["OriginalMessage"]
        emulator.wait_until_logged(KERNEL_KILLED_ONE)
        assert emulator.invoke("little", ROWS) == predicted(1)
        assert restarts(emulator) == [0]

    def test_models_give_way_when_real_memory_is_short(
        self, mms_on_a_small_instance: RunningEmulator, shared: Path
    ) -> None:
        emulator = mms_on_a_small_instance
        for number in range(8):
            linear_model(shared / f"{number}", number, 1, megabytes=60)
        most = 0
        for _ in range(2):
            for number in range(8):
                assert emulator.invoke(f"{number}", ROWS) == predicted(number)
                memory = emulator.instance()["memory"]
                assert memory["used_bytes"] < 600 * MIB
                most = max(most, len(memory["models"]))
        assert 2 <= most <= 7
        assert "7" in emulator.in_memory()
        assert restarts(emulator) == [0]


@pytest.fixture(scope="class")
def triton(serve_all: Serve, images: Images, shared: Path) -> RunningEmulator:
    # Polled often: what the server lists must not matter.
    arguments = ("--models", str(shared), "--max-loaded-models", str(TestTriton.MOST), "--limit", "poll_seconds=0.2")
    return serve_all("--image", images.triton(), *arguments)


class TestTriton:
    MOST = 2

    def test_models_are_evicted_and_loaded_again_wherever_their_files_are(
        self, triton: RunningEmulator, shared: Path
    ) -> None:
        names, before = [f"by/{factor}.tar.gz" for factor in range(1, self.MOST + 2)], restarts(triton)
        for factor, name in enumerate(names, 1):
            triton_model(shared, name, factor, subdirectory="" if factor % 2 else "multiplier/")
            for request in (tensors.json_request([1, 2.5]), tensors.binary_request([1, 2.5])):
                assert tensors.ask(triton, name, request) == [factor, 2.5 * factor]
        assert triton.in_memory() == set(names[1:])
        assert tensors.ask(triton, names[0], tensors.json_request([4])) == [4]
        model = triton.model(names[0])
        assert (model["loads"], model["downloads"]) == (2, 1)
        assert restarts(triton) == before

    def test_a_model_that_the_server_no_longer_has_is_loaded_again(self, triton: RunningEmulator, shared: Path) -> None:
        triton_model(shared, "lost", 4)
        assert tensors.ask(triton, "lost", tensors.json_request([2])) == [8]
        header = {"X-Amzn-SageMaker-Target-Model": "lost"}
        assert behind(triton, "DELETE", f"/models/{model_name(triton, 'lost')}", **header)[0] == 200
        assert tensors.ask(triton, "lost", tensors.json_request([2])) == [8]
        assert triton.model("lost")["loads"] == 2

    def test_a_model_larger_than_the_instance_costs_its_stub_only(
        self, serve: Serve, images: Images, bucket: Path
    ) -> None:
        triton_model(bucket, "small", 1)
        triton_model(bucket, "large", 2, megabytes=900)
        emulator = serve("--image", images.triton(), "--models", str(bucket), "--memory", "600MiB")
        assert tensors.ask(emulator, "small", tensors.json_request([3])) == [3]
        response = refused(tensors.ask, emulator, "large", tensors.json_request([1.0])).response
        assert response["OriginalStatusCode"] == 400 and "not healthy" in response["OriginalMessage"]
        emulator.wait_until_logged(KERNEL_KILLED_ONE)
        assert tensors.ask(emulator, "small", tensors.json_request([3])) == [3]
        assert restarts(emulator) == [0]

    def test_a_server_that_is_killed_is_replaced(
        self, triton: RunningEmulator, shared: Path, engine: docker.DockerClient
    ) -> None:
        triton_model(shared, "survivor", 5)
        assert tensors.ask(triton, "survivor", tensors.json_request([3])) == [15]
        [before] = restarts(triton)
        container(engine, triton).kill()
        eventually(lambda: restarts(triton) == [before + 1])
        assert tensors.ask(triton, "survivor", tensors.json_request([3])) == [15]
        assert triton.model("survivor")["loads"] == 2

    def test_a_507_for_shared_memory_unloads_a_model_and_loads_the_next(
        self, serve: Serve, images: Images, bucket: Path
    ) -> None:
        for factor in (1, 2):
            triton_model(bucket, f"{factor}", factor)
        shared_memory = ("--env", f"TRITON_SHM_DEFAULT_BYTES={40 * MIB}")
        emulator = serve("--image", images.triton(), "--models", str(bucket), *shared_memory)
        for factor in (1, 2, 1):
            assert tensors.ask(emulator, f"{factor}", tensors.binary_request([3])) == [3 * factor]
            assert emulator.in_memory() == {f"{factor}"}
        assert all(emulator.model(name)["model_errors"] == 0 for name in "12")
        assert restarts(emulator) == [0]


@pytest.fixture(scope="class")
def pipeline(serve_all: Serve, images: Images, shared: Path) -> RunningEmulator:
    """``localmme serve`` of a copy of the sample, whose images have the names that they have here."""
    shutil.copytree(SAMPLES, shared, dirs_exist_ok=True)
    subprocess.run([sys.executable, shared / "make_models.py"], check=True, capture_output=True)
    file = shared / "pipeline" / "endpoint.yaml"
    asked = yaml.safe_load(file.read_text())
    tags = {"plain": images.plain(), "pipeline-step": images.pipeline_step()}
    for each in asked["Models"][0]["Containers"]:
        each["Image"] = tags[each["Image"]]
    file.write_text(yaml.safe_dump(asked))
    return serve_all(str(file))


class TestPipelineSample:
    @staticmethod
    def ask(emulator: RunningEmulator, city: str, body: bytes, **request: Any) -> bytes:
        response = emulator.client().invoke_endpoint(
            EndpointName="prices",
            TargetModel=f"{city}.tar.gz",
            Body=body,
            **{"ContentType": "text/csv", "Accept": "text/csv", **request},
        )
        data: bytes = response["Body"].read()
        return data

    def test_each_city_has_its_own_prices(self, pipeline: RunningEmulator) -> None:
        assert self.ask(pipeline, "lisbon", b"3,80\n2,50\n") == b"307.0,dear\n190.0,cheap\n"
        assert self.ask(pipeline, "porto", b"3,80\n2,50\n") == b"248.0,fair\n154.0,cheap\n"
        assert self.ask(pipeline, "faro", b"3,80\n2,50\n") == b"198.0,cheap\n130.0,cheap\n"
        body = self.ask(pipeline, "porto", b'{"instances": [[2, 70]]}', ContentType="application/json", Accept="*/*")
        assert json.loads(body) == {"results": [{"value": 210, "label": "fair"}]}
        assert pipeline.in_memory() == {"lisbon.tar.gz", "porto.tar.gz", "faro.tar.gz"}

    def test_an_error_names_the_container_it_comes_from(self, pipeline: RunningEmulator) -> None:
        for body, blamed, words in ((b"3\n", "models", "a row has 1 numbers"), (b"x,y\n", "before", "cannot be read")):
            with pytest.raises(pipeline.client().exceptions.ModelError) as caught:
                self.ask(pipeline, "lisbon", body)
            response = caught.value.response
            assert f"Received client error (400) from {blamed} with message" in response["Error"]["Message"]
            assert words in response["OriginalMessage"]
        with pytest.raises(ClientError, match="Failed to download model data"):
            self.ask(pipeline, "madrid", b"3,80\n")

    @staticmethod
    def kill(pipeline: RunningEmulator, engine: docker.DockerClient, host_name: str) -> None:
        """Kill a container, and wait until it is replaced, and no other."""
        expected = restarts(pipeline)
        expected[("before", "models", "after").index(host_name)] += 1
        container(engine, pipeline, host_name).kill()
        eventually(lambda: restarts(pipeline) == expected)

    @pytest.mark.parametrize("host_name", ["before", "models", "after"])
    def test_a_container_that_is_killed_is_replaced(
        self, pipeline: RunningEmulator, engine: docker.DockerClient, host_name: str
    ) -> None:
        self.kill(pipeline, engine, host_name)
        assert self.ask(pipeline, "lisbon", b"3,80\n") == b"307.0,dear\n"

    def test_nobody_gets_a_wrong_answer_while_containers_are_killed(
        self, pipeline: RunningEmulator, engine: docker.DockerClient
    ) -> None:
        right = {"lisbon": b"307.0,dear\n", "porto": b"248.0,fair\n", "faro": b"198.0,cheap\n"}
        outcomes: Counter[str] = Counter()
        over = threading.Event()

        def call() -> None:
            while not over.is_set():
                city = random.choice(list(right))
                try:
                    outcomes["right" if self.ask(pipeline, city, b"3,80\n") == right[city] else "wrong"] += 1
                except ClientError as error:
                    outcomes[f"{error.response['Error']['Code']} {error.response.get('OriginalStatusCode')}"] += 1

        pipeline.client()
        with ThreadPoolExecutor(8) as callers:
            running = [callers.submit(call) for _ in range(8)]
            try:
                for host_name in ("before", "models", "after"):
                    self.kill(pipeline, engine, host_name)
                    enough = outcomes["right"] + 20
                    eventually(lambda enough=enough: outcomes["right"] > enough)
            finally:
                over.set()
        assert [each.result() for each in running] == [None] * 8
        assert set(outcomes) <= {"right", "ModelError 0"}, outcomes


class TestContainersOfOneInstance:
    NAMES = ("first", "many", "last")

    @staticmethod
    def file(path: Path, images: Sequence[str], models: Path) -> str:
        """Describe three containers, the second with many models."""
        single = archive(path.parent / "single.tar.gz", {"answer.txt": "I am single"})
        made = [
            {"ContainerHostname": name, "Image": image, "ModelDataUrl": str(single)}
            for name, image in zip(TestContainersOfOneInstance.NAMES, images, strict=True)
        ]
        made[1] = many(made[1], models)
        return described(path, {"m": made})

    def test_each_has_its_ports_its_host_name_and_its_models(
        self, serve: Serve, images: Images, bucket: Path, tmp_path: Path, engine: docker.DockerClient
    ) -> None:
        scripted_model(bucket / "a", "I am a")
        emulator = serve(self.file(tmp_path / "endpoint.yaml", [images.scripted()] * 3, bucket))
        answer = emulator.invoke("a")
        assert (
            answer["answer"] == "I am single"
        )  # says the last one, which was sent what the one with many models said:
        assert '"answer": "I am a"' in answer["body"]
        told = {}
        for name in self.NAMES:
            found = container(engine, emulator, name)
            told[name] = json.loads(found.exec_run(["python", "-c", TELL]).output)
            assert told[name]["host_name"] == name
            assert found.attrs["Config"]["Cmd"] == ["serve"]
        taken: set[int] = set()
        for name in self.NAMES:
            variables = told[name]["environment"]
            low, high = map(int, variables["SAGEMAKER_SAFE_PORT_RANGE"].split("-"))
            ports = {int(variables["SAGEMAKER_BIND_TO_PORT"]), *range(low, high + 1)}
            assert not taken & ports
            taken |= ports
        assert [told[name]["environment"].get("SAGEMAKER_MULTI_MODEL") for name in self.NAMES] == [None, "true", None]
        assert told["first"]["there"] == told["last"]["there"] == {"model": ["answer.txt"]}
        assert told["many"]["there"] == {"models": [model_name(emulator, "a")]}

    def test_an_image_that_does_not_accept_a_port_is_refused(
        self, serve: Serve, images: Images, bucket: Path, tmp_path: Path, engine: docker.DockerClient
    ) -> None:
        unlabelled = images.build("no-port", SCRIPTED_IMAGE.replace(BIND_TO_PORT_LABEL, ""), SCRIPTED_FILES)
        file = self.file(tmp_path / "endpoint.yaml", [images.scripted(), unlabelled, images.scripted()], bucket)
        with in_process_emulators(tmp_path) as start:
            emulator = start(file)
            assert emulator.wait() == 3
        label = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true"
        assert f"Your Ecr Image {unlabelled} does not contain required {label} Docker label(s)." in emulator.log
        assert containers(engine, emulator) == []
        # By itself it listens at 8080, and needs no label.
        scripted_model(bucket / "a", "I am a")
        emulator = serve("--image", unlabelled, "--models", str(bucket))
        assert emulator.invoke("a")["answer"] == "I am a"


@pytest.fixture(scope="class")
def variants(serve_all: Serve, images: Images, shared: Path) -> RunningEmulator:
    """Nine tenths of the traffic for the plain container, and a model of the same name for each."""
    tags = {"A": images.plain(), "B": images.multi_model_server()}
    models = {}
    for number, (name, tag) in enumerate(tags.items()):
        linear_model(shared / name / "a", number, 1)
        models[name] = [many({"Image": tag}, shared / name)]
    weights = [variant("A", InitialVariantWeight=90), variant("B", InitialVariantWeight=10)]
    return serve_all(described(shared / "endpoint.yaml", models, weights))


class TestVariants:
    @staticmethod
    def ask(emulator: RunningEmulator, **request: Any) -> str:
        """The variant that was invoked, which is the one that has answered."""
        response = emulator.client().invoke_endpoint(
            EndpointName="local", TargetModel="a", ContentType="application/json", Body=ROWS, **request
        )
        named: str = response["InvokedProductionVariant"]
        assert json.loads(response["Body"].read()) == predicted("AB".index(named))
        return named

    def test_traffic_is_divided_by_weight(self, variants: RunningEmulator) -> None:
        variants.client()
        count = 400
        with ThreadPoolExecutor(8) as callers:
            share = Counter(callers.map(lambda _: self.ask(variants), range(count)))
        # 40 expected for B, with a standard deviation of 6: five of them leave one false alarm in two million runs.
        assert abs(share["B"] - count * 0.1) < 5 * (count * 0.1 * 0.9) ** 0.5

    def test_a_caller_may_name_the_variant(self, variants: RunningEmulator) -> None:
        for name in "ABBA":
            assert self.ask(variants, TargetVariant=name) == name
        with pytest.raises(ClientError, match="Variant C not found"):
            self.ask(variants, TargetVariant="C")
