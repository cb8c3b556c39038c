"""The life of a transform job, on containers that are functions."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.archives.model_data_url import LocalS3, S3Url
from emulator.aws.errors import AwsError
from emulator.clock import Clock
from emulator.containers.container import Container
from emulator.containers.contract import Answer
from emulator.containers.launch import Image
from emulator.errors import ContainerNotReached, ContainerTimeout, ContainerUnreachable, SetupError
from emulator.events import Events, JobStatus, LogLine, Origin
from emulator.hosting.definition import ContainerDefinition, ModelDefinition, Resources
from emulator.hosting.workspace import Workspace
from emulator.invocation import Invocation
from emulator.jobs.data_processing import DataProcessing
from emulator.jobs.json_path import JsonPath
from emulator.jobs.training_definition import Channel
from emulator.jobs.transform_definition import TransformDefinition
from emulator.jobs.transform_job import TransformJob
from emulator.limits import Limits
from emulator.storage.object_store import ObjectStore, open_store
from tests.support.virtual_containers import VirtualContainer, VirtualContract
from tests.support.virtual_time import in_virtual_time
from tests.support.waiting import turns, until

Handle = Callable[[Invocation], Awaitable[Answer]]


async def upper(invocation: Invocation) -> Answer:
    body = invocation.body if invocation.chunks is None else b"".join([chunk async for chunk in invocation.chunks()])
    return Answer(200, [], body.upper())


class BatchContract(VirtualContract):
    """A container that answers invocations with a function."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self._scene = scene

    async def invoke(self, path: str, invocation: Invocation, deadline: float) -> Answer:
        self._scene.invocations.append(invocation)
        self._scene.at_once += 1
        self._scene.most_at_once = max(self._scene.most_at_once, self._scene.at_once)
        try:
            return await self._scene.handle(invocation)
        finally:
            self._scene.at_once -= 1

    async def ping(self) -> None:
        if self._scene.ends_at_once:
            raise ContainerNotReached("connection refused")

    async def get(self, path: str, accept: str) -> Answer:
        assert path == "/execution-parameters"
        return self._scene.parameters


class Scene:
    """A directory that stands for S3, and transform jobs with it."""

    def __init__(self, root: Path) -> None:
        self.store: ObjectStore = open_store(root / "s3", "us-east-1")
        (root / "s3" / "in").mkdir(parents=True)
        (root / "s3" / "out").mkdir()
        self.disks = root / "disks"
        self.bucket = root / "s3" / "in"
        self.handle: Handle = upper
        self.parameters = Answer(404, [])
        self.invocations: list[Invocation] = []
        self.at_once = self.most_at_once = 0
        self.settings: list[Any] = []  # of the containers that were made
        self.containers: list[VirtualContainer] = []
        self.failure: SetupError | None = None  # of the start of containers
        self.logged: list[str] = []
        self.statuses: list[str] = []
        self.ends_at_once = False
        self.slow_to_stop: asyncio.Event | None = None  # before this is set, containers do not stop
        self.stopping = False
        self.changes = 0

    def put(self, key: str, data: bytes) -> None:
        path = self.bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def job(self, uri: str = "data/", containers: int = 1, **more: Any) -> TransformJob:
        events = Events(Origin("", "us-east-1"))
        events.subscribe(self._log, LogLine)
        events.subscribe(lambda event, _: self.statuses.append(event.status), JobStatus)
        workspace = Workspace(self.disks, self._container, Limits(), events, Clock()).instance("i-1")
        model = ModelDefinition([ContainerDefinition(Image("i"), None, multi_model=False)] * containers)
        channel = Channel("input", LocalS3(self.bucket, S3Url("in", uri)), more.pop("data_type", "S3Prefix"), {},
                          gzipped=more.pop("gzipped", False))  # fmt: skip
        output = more.pop("output", S3Url("out", "results"))
        resources = Resources(1 << 30, 1 << 30, 1)
        definition = TransformDefinition("job", "us-east-1", model, resources, channel, output, **more)
        return TransformJob(definition, workspace, self.store, self._note_change)

    async def _note_change(self, job: TransformJob) -> None:
        self.changes += 1

    async def run(self, uri: str = "data/", **more: Any) -> TransformJob:
        job = self.job(uri, **more)
        await job.run()
        return job

    def outputs(self) -> dict[str, bytes]:
        found = {}
        for one in self.store.listing("out").objects:
            with self.store.open("out", one.key)[0] as file:
                found[one.key] = file.read()
        return found

    def _container(self, runs: object, settings: Any, *_: object) -> Container:
        self.settings.append(settings)
        self.containers.append(BatchContainer(self) if self.failure is None else Unstartable(self.failure))
        return self.containers[-1]

    def _log(self, event: LogLine, origin: Origin) -> None:
        assert origin.container == "data-log"
        self.logged.append(event.line.partition(":[sagemaker logs]: ")[2])


class BatchContainer(VirtualContainer):
    def __init__(self, scene: Scene) -> None:
        super().__init__(BatchContract(scene))
        self._scene = scene

    async def start(self) -> None:
        if self._scene.ends_at_once:
            self.die()

    async def stop(self, seconds: float | None = None) -> None:
        self._scene.stopping = True
        if self._scene.slow_to_stop is not None:
            await self._scene.slow_to_stop.wait()


class Unstartable(VirtualContainer):
    def __init__(self, failure: SetupError) -> None:
        self._failure = failure

    async def start(self) -> None:
        raise self._failure

    async def stop(self, seconds: float | None = None) -> None: ...


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.store.close()
    assert not list(scene.store.incoming_directory.glob("*")), "a partial output is left"
    assert not list(scene.disks.rglob("*")), "a disk is left"


def test_every_object_has_an_output_of_its_own(scene: Scene) -> None:
    scene.put("data/a.csv", b"a\nb\n")
    scene.put("data/deep/b.csv", b"c")
    job = asyncio.run(scene.run(content_type="text/csv", accept="application/json"))
    assert (job.status, job.failure_reason) == ("Completed", "")
    assert scene.outputs() == {"results/a.csv.out": b"A\nB\n", "results/deep/b.csv.out": b"C"}
    assert [(one.content_type, one.accept) for one in scene.invocations] == [(b"text/csv", b"application/json")] * 2
    assert job.started is not None
    assert job.ended is not None
    assert job.started <= job.ended
    assert scene.logged == ["MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD"]


@pytest.mark.parametrize(
    ("uri", "output", "key"),
    [
        ("data/a.csv", S3Url("out", ""), "a.csv.out"),
        ("data/", S3Url("out", "results/"), "results/a.csv.out"),
        ("data", S3Url("out", "results"), "results/a.csv.out"),
        ("", S3Url("out", "results"), "results/data/a.csv.out"),
    ],
)
def test_an_output_lies_where_its_input_lies_below_the_prefix(scene: Scene, uri: str, output: S3Url, key: str) -> None:
    scene.put("data/a.csv", b"a")
    asyncio.run(scene.run(uri, output=output))
    assert list(scene.outputs()) == [key]


def test_a_manifest_names_the_objects(scene: Scene) -> None:
    scene.put("data/a.csv", b"a")
    scene.put("data/deep/b.csv", b"b")
    scene.put("data/c.csv", b"c")
    scene.put("manifest", json.dumps([{"prefix": "s3://in/data/"}, "c.csv", "deep/b.csv"]).encode())
    asyncio.run(scene.run("manifest", data_type="ManifestFile"))
    assert scene.outputs() == {"results/c.csv.out": b"C", "results/deep/b.csv.out": b"B"}


@pytest.mark.parametrize("max_payload_mb", [0, 6])
def test_the_data_log_has_the_bucket_to_which_a_manifest_leads(scene: Scene, max_payload_mb: int) -> None:
    scene.put("../other/data/a", b"a")
    scene.put("manifest", json.dumps([{"prefix": "s3://other/data/"}, "absent", "a"]).encode())
    asyncio.run(scene.run("manifest", data_type="ManifestFile", max_payload_mb=max_payload_mb, retries=0))
    assert scene.logged[1:] == ["other/data/absent: ClientError: NoSuchKey (404): The specified key does not exist."]
    assert scene.outputs() == {"results/a.out": b"A"}


def test_a_missing_manifest_fails_the_job(scene: Scene) -> None:
    job = asyncio.run(scene.run("manifest", data_type="ManifestFile"))
    why = "ClientError: Data download failed:NoSuchKey (404): The specified key does not exist."
    assert (job.status, job.failure_reason) == ("Failed", why)


def test_a_manifest_leads_to_nothing_outside_of_its_bucket(scene: Scene) -> None:
    (scene.bucket.parent.parent / "secret").write_text("secret")
    scene.put("data/a", b"a")
    scene.put("manifest", json.dumps([{"prefix": "s3://in/data/"}, "../../../secret", "a"]).encode())
    job = asyncio.run(scene.run("manifest", data_type="ManifestFile"))
    assert (job.status, job.failure_reason) == ("Failed", "ClientError: See job logs for more information")
    assert [one.body for one in scene.invocations] == [b"a"]
    assert scene.outputs() == {"results/a.out": b"A"}


def test_lines_are_assembled_in_their_order_whatever_the_order_of_the_answers(scene: Scene) -> None:
    async def slow_first(invocation: Invocation) -> Answer:
        await until(lambda: scene.most_at_once == 4)
        for _ in range(10 - int(invocation.body)):
            await asyncio.sleep(0)
        return await upper(invocation)

    scene.handle = slow_first
    lines = [str(number).encode() for number in range(10)]
    scene.put("data/a", b"\n".join(lines))
    scene.put("data/b", b"7\n8\n")
    asyncio.run(scene.run(split="Line", single_records=True, max_concurrent=4, assemble_lines=True))
    assert scene.outputs() == {"results/a.out": b"\n".join(lines) + b"\n", "results/b.out": b"7\n8\n"}
    assert scene.most_at_once == 4


def test_mini_batches_hold_as_many_records_as_fit(scene: Scene) -> None:
    line = b"x" * (400 << 10) + b"\n"
    scene.put("data/a", line * 5)
    asyncio.run(scene.run(split="Line", max_payload_mb=1))
    assert [len(one.body) // len(line) for one in scene.invocations] == [2, 2, 1]
    assert scene.outputs() == {"results/a.out": line.upper() * 5}


def test_an_object_of_any_size_is_sent_in_chunks_if_payloads_have_no_limit(scene: Scene) -> None:
    async def measure(invocation: Invocation) -> Answer:
        assert invocation.chunks is not None
        sizes = [len(chunk) async for chunk in invocation.chunks()]
        return Answer(500 if len(scene.invocations) == 1 else 200, [], json.dumps(sizes).encode())

    scene.handle = measure
    scene.put("data/a.gz", gzip.compress(bytes((5 << 20) + 1)))
    scene.put("data/b.gz", b"no gzip")
    job = asyncio.run(scene.run(max_payload_mb=0, split="Line", gzipped=True, retries=1))
    (sizes,) = map(json.loads, scene.outputs().values())
    assert (sum(sizes), max(sizes)) == ((5 << 20) + 1, 1 << 20)
    assert job.failure_reason == "ClientError: See job logs for more information"
    assert "in/data/b.gz: ClientError: Not a gzipped file (b'no')" in scene.logged


def test_the_container_may_choose_what_the_request_does_not(scene: Scene) -> None:
    scene.parameters = Answer(
        200, [], b'{"MaxConcurrentTransforms": 8, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 2}'
    )
    scene.put("data/a", b"a\nb\n")
    asyncio.run(scene.run(split="Line", max_payload_mb=3))
    assert scene.logged == ["MaxConcurrentTransforms=8, MaxPayloadInMB=3, BatchStrategy=SINGLE_RECORD"]
    assert [one.body for one in scene.invocations] == [b"a", b"b"]


@pytest.mark.parametrize("answer", [b"not JSON", b"[]", b'{"MaxConcurrentTransforms": "8", "MaxPayloadInMB": -1}'])
def test_parameters_that_are_none_are_ignored(scene: Scene, answer: bytes) -> None:
    scene.parameters = Answer(200, [], answer)
    scene.put("data/a", b"a")
    asyncio.run(scene.run())
    assert scene.logged == ["MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD"]


def test_containers_have_the_variables_of_the_job_and_of_the_platform(scene: Scene) -> None:
    scene.put("data/a", b"a")
    asyncio.run(scene.run(environment={"MINE": "1"}, containers=2, max_payload_mb=0, single_records=False))
    asyncio.run(scene.run())
    platform = {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0",
        "SAGEMAKER_BATCH_STRATEGY": "MULTI_RECORD",
    }
    assert [settings.environment for settings in scene.settings] == [
        {"MINE": "1", **platform}, {"MINE": "1", **platform}, {"SAGEMAKER_BATCH": "true"}
    ]  # fmt: skip


def test_compressed_objects_are_decompressed(scene: Scene) -> None:
    scene.put("data/a.csv.gz", gzip.compress(b"a\nb\n"))
    scene.put("data/b.csv.gz", b"plain")
    job = asyncio.run(scene.run(gzipped=True))
    assert scene.outputs() == {"results/a.csv.gz.out": b"A\nB\n"}
    assert job.failure_reason == "ClientError: See job logs for more information"


def test_filters_and_joins_are_of_the_records_of_each_mini_batch(scene: Scene) -> None:
    scene.put("data/a.csv", b"1,a,b\n2,c,d\n")
    processing = DataProcessing("csv", "csv", JsonPath("$[1:]"), True, JsonPath("$[0,-2:]"))
    asyncio.run(scene.run(split="Line", processing=processing))
    assert [one.body for one in scene.invocations] == [b"a,b\nc,d\n"]
    assert scene.outputs() == {"results/a.csv.out": b"1,A,B\n2,C,D\n"}


def failing(status: int, message: bytes) -> Handle:
    async def handle(invocation: Invocation) -> Answer:
        return Answer(status, [], message) if b"bad" in invocation.body else await upper(invocation)

    return handle


@pytest.mark.parametrize(
    ("status", "tries", "first", "reason"),
    [
        (400, 1, "ClientError: 400", "ClientError"),
        (500, 3, "Bad HTTP status received from algorithm: 500", "AlgorithmError"),
    ],
)
def test_an_object_that_fails_has_no_output_and_the_others_have(
    scene: Scene, status: int, tries: int, first: str, reason: str
) -> None:
    scene.put("data/a", b"good\nbad\ngood\n")
    scene.put("data/b", b"good\n")
    scene.handle = failing(status, b"line 1\nline 2")
    job = asyncio.run(scene.run(split="Line", single_records=True, retries=2))
    assert (job.status, job.failure_reason) == ("Failed", f"{reason}: See job logs for more information")
    assert scene.outputs() == {"results/b.out": b"GOOD"}
    assert [one.body for one in scene.invocations].count(b"bad") == tries
    assert scene.logged[1:] == [f"in/data/a: {line}" for line in [first, "", "Message:", "line 1", "line 2"]]


@pytest.mark.parametrize(("lines", "sent"), [(b"bad\n1\n2\n", 1), (b"slow\nbad\n1\n2\n", 2)])
def test_nothing_more_is_sent_of_an_object_that_has_failed(scene: Scene, lines: bytes, sent: int) -> None:
    async def handle(invocation: Invocation) -> Answer:
        if invocation.body == b"slow":
            await until(lambda: len(scene.invocations) == 2)
            await turns()
        return await failing(400, b"")(invocation)

    scene.handle = handle
    scene.put("data/a", lines)
    scene.put("data/b", b"good")
    in_virtual_time(scene.run(split="Line", single_records=True, max_concurrent=sent))
    assert [one.body for one in scene.invocations] == [*lines.split()[:sent], b"good"]


def test_a_container_without_an_answer_is_an_algorithm_error(scene: Scene) -> None:
    async def too_slow(_: Invocation) -> Answer:
        raise ContainerTimeout("no answer within 600 s")

    scene.handle = too_slow
    scene.put("data/a", b"a")
    job = asyncio.run(scene.run(retries=0))
    assert job.failure_reason == "AlgorithmError: See job logs for more information"
    assert scene.logged[1] == "in/data/a: Unable to get response from algorithm"


def test_a_container_that_is_not_healthy_any_more_fails_the_job_at_the_first_object(scene: Scene) -> None:
    async def unhealthy(_: Invocation) -> Answer:
        raise AwsError("ServiceUnavailable", 503, "no healthy container")

    scene.handle = unhealthy
    scene.put("data/a", b"a")
    scene.put("data/b", b"b")
    job = asyncio.run(scene.run())
    assert job.failure_reason == "AlgorithmError: See job logs for more information"
    assert len(scene.invocations) == 1


@pytest.mark.parametrize("noticed_after", [0.5, 30.0])
def test_what_a_container_did_not_answer_when_it_died_is_sent_to_the_next(scene: Scene, noticed_after: float) -> None:
    has_died = False

    async def mortal(invocation: Invocation) -> Answer:
        nonlocal has_died
        if has_died and len(scene.containers) == 1:
            raise ContainerNotReached("connection refused")
        if not has_died and invocation.body == b"b":
            has_died = True
            asyncio.get_running_loop().call_later(noticed_after, scene.containers[0].die)
            raise ContainerUnreachable("connection reset")
        return await upper(invocation)

    scene.handle = mortal
    for name in "abc":
        scene.put(f"data/{name}", name.encode())
    job = in_virtual_time(scene.run(retries=1))
    assert job.status == "Completed"
    assert scene.outputs() == {"results/a.out": b"A", "results/b.out": b"B", "results/c.out": b"C"}
    assert len(scene.containers) == 2


def test_a_container_that_is_never_reached_fails_the_object(scene: Scene) -> None:
    async def unreachable(_: Invocation) -> Answer:
        raise ContainerNotReached("connection refused")

    scene.handle = unreachable
    scene.put("data/a", b"a")
    job = in_virtual_time(scene.run(retries=0, timeout_seconds=5.0))
    assert job.failure_reason == "AlgorithmError: See job logs for more information"
    assert len(scene.invocations) == 6


def test_an_object_that_is_too_large_is_a_client_error(scene: Scene) -> None:
    scene.put("data/a", b"x" * ((1 << 20) + 1))
    job = asyncio.run(scene.run(max_payload_mb=1))
    assert job.failure_reason == "ClientError: See job logs for more information"
    assert scene.logged[1:] == ["in/data/a: ClientError: Too much data for max payload size"]
    assert scene.invocations == []


def test_a_job_without_input_fails(scene: Scene) -> None:
    job = asyncio.run(scene.run())
    assert job.status == "Failed"
    assert job.failure_reason.startswith(
        'ClientError: Data download failed:No S3 objects found under S3 URL "s3://in/data/"'
    )


def test_a_job_whose_container_does_not_start_fails_with_the_reason(scene: Scene) -> None:
    scene.put("data/a", b"a")
    scene.failure = SetupError("There is no image i.")
    job = asyncio.run(scene.run())
    assert (job.status, job.failure_reason) == ("Failed", "AlgorithmError: There is no image i.")


def test_messages_about_the_container_of_a_job_name_no_endpoint(scene: Scene) -> None:
    async def drops(_: Invocation) -> Answer:
        raise ContainerUnreachable("connection reset")

    scene.handle = drops
    scene.put("data/a", b"a")
    asyncio.run(scene.run(retries=0))
    assert scene.logged[4].startswith(
        "in/data/a: Amazon SageMaker could not get a response from the primary container. This can occur"
    )
    scene.ends_at_once = True
    assert asyncio.run(scene.run()).failure_reason.startswith(
        "AlgorithmError: The primary container did not pass the ping health check. Please check CloudWatch logs "
        "for this job. It ended with exit code 1 before it was healthy."
    )


def test_a_stop_that_comes_while_the_instance_is_stopped_waits_for_that(scene: Scene) -> None:
    async def story() -> TransformJob:
        scene.put("data/a", b"a")
        scene.slow_to_stop = asyncio.Event()
        job = scene.job()
        running = asyncio.ensure_future(job.run())
        await until(lambda: scene.stopping)
        job.stop()
        await turns()
        assert not running.done()
        scene.slow_to_stop.set()
        await running
        return job

    assert asyncio.run(story()).status == "Stopped"
    assert scene.outputs() == {"results/a.out": b"A"}


def test_a_key_that_cannot_be_a_file_fails_its_object_only(scene: Scene) -> None:
    scene.put("data/a", b"a")
    scene.put("data/" + "b" * 253, b"b")
    job = asyncio.run(scene.run())
    assert job.status == "Failed"
    assert list(scene.outputs()) == ["results/a.out"]


@pytest.mark.parametrize("by_the_emulator", [False, True])
def test_a_job_that_is_stopped_leaves_nothing_behind(scene: Scene, by_the_emulator: bool) -> None:
    async def for_ever(invocation: Invocation) -> Answer:
        if invocation.body != b"a":
            await asyncio.Event().wait()
        return await upper(invocation)

    async def story() -> TransformJob:
        scene.handle = for_ever
        scene.put("data/a", b"a\nb\nc\n")
        job = scene.job(split="Line", single_records=True, max_concurrent=2)
        running = asyncio.ensure_future(job.run())
        await until(lambda: scene.at_once == 2 and len(scene.invocations) == 3)
        if by_the_emulator:
            running.cancel()
        else:
            job.stop()
            await turns()
            job.stop()
        await asyncio.wait([running])
        return job

    job = asyncio.run(story())
    assert (job.status, job.ended is None) == (("InProgress", True) if by_the_emulator else ("Stopped", False))
    assert scene.statuses == (["InProgress"] if by_the_emulator else ["InProgress", "Stopping", "Stopped"])
    assert scene.changes == len(scene.statuses)
    assert scene.outputs() == {}
    assert scene.at_once == 0
