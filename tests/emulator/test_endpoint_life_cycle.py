"""Endpoints from Creating to their deletion, through boto3: what callers see, and what is left behind."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.support.aws_clients import invalid
from tests.support.cloud import ROLE, Cloud
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.emulator_process import Emulator
from tests.support.files import archive, files_below
from tests.support.processes import open_files_and_threads
from tests.support.scripted_models import SCRIPTED_CONTAINER
from tests.support.waiting import eventually

PING_FAILED = (
    "The primary container for production variant AllTraffic did not pass the ping health check. "
    "Please check CloudWatch logs for this endpoint."
)
CALLERS = 4
KEEPER = "emulator.containers.process.keeper"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path_factory.mktemp("cloud")).start()
    yield cloud
    cloud.close()


@pytest.fixture
def cloud(shared: Cloud, request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """An emulator without endpoints; whatever a test leaves in it is deleted."""
    yield shared
    for endpoint in shared.api.list_endpoints(MaxResults=100)["Endpoints"]:
        name = endpoint["EndpointName"]
        eventually(lambda name=name: shared.status(name) in ("InService", "Failed"))
        shared.api.delete_endpoint(EndpointName=name)
    eventually(lambda: not shared.api.list_endpoints()["Endpoints"])
    for model in shared.api.list_models(MaxResults=100)["Models"]:
        shared.api.delete_model(ModelName=model["ModelName"])
    for config in shared.api.list_endpoint_configs(MaxResults=100)["EndpointConfigs"]:
        shared.api.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
    assert not shared.containers() and not shared.disks()
    assert "Traceback" not in shared.emulator.log, shared.emulator.log


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Callable[..., Cloud]]:
    """An emulator of the test's own."""
    clouds: list[Cloud] = []

    def start(*arguments: str, kind: type[InProcessEmulator] | type[Emulator] = InProcessEmulator) -> Cloud:
        clouds.append(Cloud(tmp_path / str(len(clouds)), *arguments, kind=kind))
        return clouds[-1].start()

    yield start
    for cloud in clouds:
        cloud.close()


class Load:
    """Callers that go on invoking an endpoint; ``answers`` and ``failures`` are what they got."""

    def __init__(self, cloud: Cloud, endpoint: str) -> None:
        self.answers: list[str] = []
        self.failures: list[BaseException] = []
        self._cloud, self._endpoint = cloud, endpoint
        self._stop = threading.Event()

    def _call(self) -> None:
        while not self._stop.is_set():
            try:
                self.answers.append(self._cloud.invoke(self._endpoint))
            except Exception as error:
                self.failures.append(error)

    def more(self, count: int = 20) -> None:
        """Return once that many more answers have come, begun after this call or about to end at it."""
        goal = len(self.answers) + count
        eventually(lambda: len(self.answers) >= goal or self.failures)

    @contextmanager
    def under_way(self) -> Iterator[Load]:
        """Not one call fails meanwhile."""
        with ThreadPoolExecutor(CALLERS) as pool:
            callers = [pool.submit(self._call) for _ in range(CALLERS)]
            try:
                self.more()
                yield self
                self.more()
            finally:
                self._stop.set()
        for caller in callers:
            caller.result()
        assert not self.failures, Counter(map(str, self.failures))


@contextmanager
def long_invocation(cloud: Cloud, endpoint: str) -> Iterator[Future[str]]:
    """An invocation that is under way, and takes its time."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(cloud.invoke, endpoint)
        eventually(lambda: cloud.in_flight(endpoint))
        yield answer


def assert_in_progress(cloud: Cloud, endpoint: str, config: str) -> None:
    words = f'Cannot update in-progress endpoint "{cloud.arn(endpoint)}".'
    assert invalid(cloud.update, endpoint, config) == words
    assert invalid(cloud.adjust, endpoint, {"VariantName": "AllTraffic", "DesiredWeight": 2}) == words
    assert invalid(cloud.api.delete_endpoint, EndpointName=endpoint) == words


# Creating


def test_an_endpoint_is_creating_until_its_container_is_healthy(cloud: Cloud, gate: Path) -> None:
    cloud.create("E", cloud.simple("slow", start={"until": str(gate)}, invoke={"body": "hello"}))
    described = cloud.describe("E")
    assert described["EndpointStatus"] == "Creating" and "ProductionVariants" not in described
    assert_in_progress(cloud, "E", "slow")
    assert invalid(cloud.create, "e", "slow").startswith("Cannot create already existing endpoint")
    with pytest.raises(ClientError, match="Endpoint E is Creating"):
        cloud.invoke("E")
    gate.touch()
    cloud.api.get_waiter("endpoint_in_service").wait(EndpointName="E", WaiterConfig={"Delay": 1})
    described = cloud.describe("E")
    assert described["EndpointStatus"] == "InService" and "FailureReason" not in described
    variant = described["ProductionVariants"][0]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (1, 1)
    assert cloud.invoke("E") == "hello"


def test_a_container_that_exits_at_once_makes_the_endpoint_failed(cloud: Cloud) -> None:
    lines = [f"line {number} " + "x" * 68 for number in range(11)] + ["no GPU here"]
    cloud.create("E", cloud.simple("dying", start={"exit": 3, "lines": lines}))
    reason = cloud.settled("E", "Failed")["FailureReason"]
    assert reason.startswith(f"{PING_FAILED} It ended with exit code 3 before it was healthy.")
    assert reason.endswith("no GPU here") and len(reason) == 1024
    assert not cloud.containers() and not cloud.disks()
    assert "ProductionVariants" not in cloud.describe("E")
    words = f'Cannot update failed endpoint "{cloud.arn("E")}".'
    assert invalid(cloud.update, "E", "dying") == words
    assert invalid(cloud.adjust, "E", {"VariantName": "AllTraffic", "DesiredWeight": 2}) == words
    with pytest.raises(ClientError, match="Endpoint E is Failed"):
        cloud.invoke("E")
    cloud.delete("E")
    cloud.create("E", cloud.simple("living"))
    cloud.settled("E")


def test_a_container_that_never_pings_makes_the_endpoint_failed(alone: Callable[..., Cloud]) -> None:
    cloud = alone("--limit", "startup_seconds=1.5")
    cloud.create("E", cloud.simple("deaf", count=2, start={"listen": False, "lines": ["I do not listen"]}))
    reason = cloud.settled("E", "Failed")["FailureReason"]
    assert reason.startswith(f"{PING_FAILED} It was not healthy within 1.5 s: ")
    assert reason.endswith("I do not listen")
    assert not cloud.containers() and not cloud.disks()


def test_a_single_model_that_cannot_be_had_makes_the_endpoint_failed(cloud: Cloud) -> None:
    broken, gone = cloud.s3 / "bucket" / "broken.tar.gz", cloud.s3 / "bucket" / "gone.tar.gz"
    broken.write_bytes(b"\x1f\x8bthis is no archive")
    archive(gone, {"weights": "1"})
    for name in ("broken", "gone"):
        cloud.simple(name, data=f"{name}.tar.gz")
    cloud.create("Broken", "broken")
    reason = cloud.settled("Broken", "Failed")["FailureReason"]
    assert reason.startswith(
        'Failed to extract model data archive for container "primary" from URL "s3://bucket/broken.tar.gz". '
        "Please ensure that the object located at the URL is a valid tar.gz archive. "
    )
    gone.chmod(0)
    gone.rename(gone.with_suffix(".away"))
    assert "Could not find model data at s3://bucket/gone.tar.gz" in invalid(cloud.create, "Gone", "gone")
    assert not cloud.disks()


def test_a_program_that_cannot_be_run_makes_the_endpoint_failed(cloud: Cloud) -> None:
    program = cloud.directory / "program"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    cloud.create("E", cloud.simple("program", image=f"command:{program}"))
    assert "program" in cloud.settled("E", "Failed")["FailureReason"]
    program.unlink()
    assert f"There is no program '{program}'" in invalid(cloud.create, "F", "program")


# UpdateEndpoint


def test_an_update_does_not_fail_a_call(cloud: Cloud) -> None:
    cloud.create("E", cloud.simple("v0", count=2, invoke={"body": "v0"}))
    cloud.settled("E")
    load = Load(cloud, "E")
    with load.under_way():
        for version in ("v1", "v2"):
            gate = cloud.directory / version
            cloud.update("E", cloud.simple(version, count=2, start={"until": str(gate)}, invoke={"body": version}))
            assert_in_progress(cloud, "E", "v0")
            gate.touch()
            described = cloud.settled("E")
            assert described["EndpointConfigName"] == version
            assert {cloud.invoke("E") for _ in range(5)} == {version}
            load.more()
    assert list(dict.fromkeys(load.answers)) == ["v0", "v1", "v2"]
    eventually(lambda: cloud.instances_of("E") == ["i-5", "i-6"], what="the old instances are gone")
    eventually(lambda: len(cloud.containers()) == 4, what="two containers, each with its keeper")


def test_an_invocation_under_way_outlives_the_update(cloud: Cloud, gate: Path) -> None:
    cloud.create("E", cloud.simple("old", invoke={"until": str(gate), "body": "old"}))
    cloud.settled("E")
    cloud.simple("new", invoke={"body": "new"})
    with long_invocation(cloud, "E") as answer:
        cloud.update("E", "new")
        cloud.settled("E")
        assert cloud.invoke("E") == "new" and not answer.done()
        cloud.update("E", "old")  # the endpoint can be changed while the first one's instance still has work
        cloud.settled("E")
        cloud.update("E", "new")
        cloud.settled("E")
        assert not answer.done() and "i-1" in cloud.instances_of("E")
        gate.touch()
        assert answer.result() == "old"
    eventually(lambda: cloud.instances_of("E") == ["i-4"])
    eventually(lambda: len(cloud.containers()) == 2)


def test_an_update_that_fails_leaves_everything_as_it_was(cloud: Cloud) -> None:
    cloud.create("E", cloud.simple("good", invoke={"body": "good"}))
    cloud.settled("E")
    cloud.simple("bad", start={"exit": 5, "lines": ["bad indeed"]})
    with Load(cloud, "E").under_way() as load:
        cloud.update("E", "bad")
        described = cloud.settled("E")
    assert described["FailureReason"].startswith(PING_FAILED) and "bad indeed" in described["FailureReason"]
    assert described["EndpointConfigName"] == "good" and set(load.answers) == {"good"}
    eventually(lambda: cloud.instances_of("E") == ["i-1"] and len(cloud.containers()) == 2)
    cloud.update("E", "good")
    assert "FailureReason" not in cloud.settled("E")


def test_an_update_keeps_weights_and_counts_if_told_so(cloud: Cloud) -> None:
    cloud.model("m")
    cloud.config("c1", ("A", "m", 1.0, 1), ("B", "m", 1.0, 1))
    cloud.config("c2", ("A", "m", 7.0, 1), ("C", "m", 7.0, 1))
    cloud.create("E", "c1")
    cloud.settled("E")
    cloud.adjust("E", {"VariantName": "A", "DesiredWeight": 3, "DesiredInstanceCount": 2})
    cloud.settled("E")

    def updated(**more: Any) -> dict[str, tuple[float, int]]:
        cloud.update("E", "c2", **more)
        variants = cloud.settled("E")["ProductionVariants"]
        for variant in variants:
            assert variant["CurrentWeight"] == variant["DesiredWeight"]
            assert variant["CurrentInstanceCount"] == variant["DesiredInstanceCount"]
        return {v["VariantName"]: (v["CurrentWeight"], v["CurrentInstanceCount"]) for v in variants}

    assert updated(RetainAllVariantProperties=True) == {"A": (3, 2), "C": (7, 1)}
    excluded = [{"VariantPropertyType": "DesiredWeight"}]
    assert updated(RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=excluded)["A"] == (7, 2)
    assert updated() == {"A": (7, 1), "C": (7, 1)}


# UpdateEndpointWeightsAndCapacities


def test_weights_shift_the_traffic_at_once(cloud: Cloud) -> None:
    for name in "ab":
        cloud.model(name, invoke={"body": name})
    cloud.create("E", cloud.config("ab", ("A", "a", 1.0, 1), ("B", "b", 1.0, 1)))
    cloud.settled("E")
    # 150 calls: five standard deviations of a share of 0.5 are 31 calls, of 0.9 they are 18.4.
    assert abs(Counter(cloud.invoke("E") for _ in range(150))["a"] - 75) < 31
    cloud.adjust("E", {"VariantName": "A", "DesiredWeight": 9})
    described = cloud.settled("E")
    assert abs(Counter(cloud.invoke("E") for _ in range(150))["a"] - 135) < 19
    assert [v["CurrentWeight"] for v in described["ProductionVariants"]] == [9, 1]
    cloud.adjust("E", {"VariantName": "A", "DesiredWeight": 0})
    cloud.settled("E")
    assert {cloud.invoke("E") for _ in range(50)} == {"b"}


def test_scaling_does_not_fail_a_call(cloud: Cloud, gate: Path) -> None:
    gate.touch()
    cloud.create("E", cloud.simple("m", start={"until": str(gate)}))
    cloud.settled("E")
    with Load(cloud, "E").under_way() as load:
        for before, after in ((1, 3), (3, 1), (1, 2)):
            gate.unlink()
            cloud.adjust("E", {"VariantName": "AllTraffic", "DesiredInstanceCount": after})
            if after > before:
                assert_in_progress(cloud, "E", "m")
                variant = cloud.describe("E")["ProductionVariants"][0]
                assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (before, after)
            gate.touch()
            variant = cloud.settled("E")["ProductionVariants"][0]
            assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (after, after)
            load.more(5)
    eventually(lambda: len(cloud.instances_of("E")) == 2 and len(cloud.containers()) == 4)


def test_a_scale_out_that_fails_leaves_all_as_before(cloud: Cloud) -> None:
    once = cloud.directory / "once"
    # Its first container is well; those that follow end at once.
    fragile = f"command:sh -c 'test -e {once} && exit 4; touch {once}; exec {SCRIPTED_CONTAINER}'"
    cloud.model("fragile", image=fragile)
    cloud.model("sound")
    cloud.create("E", cloud.config("c", ("Sound", "sound", 1.0, 2), ("Fragile", "fragile", 1.0, 1)))
    before = cloud.settled("E")["ProductionVariants"]
    processes = {process.pid for process in cloud.containers()}
    with Load(cloud, "E").under_way():
        for count in (3, 1):  # of the variant that could be scaled
            cloud.adjust(
                "E",
                {"VariantName": "Sound", "DesiredInstanceCount": count, "DesiredWeight": 5},
                {"VariantName": "Fragile", "DesiredInstanceCount": 2},
            )
            described = cloud.settled("E")
            assert "It ended with exit code 4" in described["FailureReason"]
            assert described["ProductionVariants"] == before
            eventually(lambda: {process.pid for process in cloud.containers()} == processes)
            eventually(lambda: len(cloud.instances_of("E")) == 3)
    cloud.adjust("E", {"VariantName": "Sound", "DesiredInstanceCount": 1})
    assert "FailureReason" not in cloud.settled("E")


def test_variants_that_are_not_there_or_named_twice_are_invalid(cloud: Cloud) -> None:
    cloud.create("E", cloud.simple("m"))
    cloud.settled("E")
    assert invalid(cloud.adjust, "E", {"VariantName": "Nope", "DesiredWeight": 1}) == (
        'The variant name(s) "Nope" is/are not present within endpoint configuration "m".'
    )
    twice = [{"VariantName": "AllTraffic", "DesiredWeight": weight} for weight in (1, 2)]
    assert invalid(cloud.adjust, "E", *twice) == 'The variant name "AllTraffic" was non-unique within the request.'
    assert cloud.status("E") == "InService"


# DeleteEndpoint


def test_endpoints_whose_containers_die_meanwhile_are_deleted(cloud: Cloud) -> None:
    config = cloud.simple("m", count=2)
    for endpoint in "EF":
        cloud.create(endpoint, config)
    for endpoint in "EF":
        cloud.settled(endpoint)
    for endpoint in "EF":
        for process in cloud.containers():
            with contextlib.suppress(psutil.NoSuchProcess):
                if KEEPER not in process.cmdline():
                    process.kill()
        cloud.delete(endpoint)
    assert not cloud.containers() and not cloud.disks()


def test_deleting_lets_invocations_end_and_leaves_nothing(cloud: Cloud, gate: Path) -> None:
    cloud.create("E", cloud.simple("m", count=2, invoke={"until": str(gate), "body": "done"}))
    cloud.settled("E")
    with long_invocation(cloud, "E") as answer:
        cloud.api.delete_endpoint(EndpointName="E")
        assert cloud.status("E") == "Deleting"
        assert_in_progress(cloud, "E", "m")
        assert invalid(cloud.create, "E", "m") == f'Cannot create already existing endpoint "{cloud.arn("E")}".'
        with pytest.raises(ClientError, match="Endpoint E is Deleting"):
            cloud.invoke("E")
        gate.touch()
        assert answer.result() == "done"
    cloud.api.get_waiter("endpoint_deleted").wait(EndpointName="E", WaiterConfig={"Delay": 1})
    assert not cloud.containers() and not cloud.disks()
    with pytest.raises(ClientError, match="Endpoint E of account 123456789012 not found."):
        cloud.invoke("E")
    assert invalid(cloud.describe, "E") == f'Could not find endpoint "{cloud.arn("E")}".'
    cloud.create("E", "m")
    cloud.settled("E")


@pytest.mark.parametrize("mode", ["SingleModel", "MultiModel"])
def test_what_is_still_being_extracted_leaves_nothing_either(alone: Callable[..., Cloud], mode: str) -> None:
    cloud = alone("--limit", "drain_seconds=0.1")
    many = {f"{number}": b"" for number in range(30_000 if mode == "MultiModel" else 10_000)}
    archive(cloud.s3 / "bucket" / "many" / "many.tar.gz", many)
    # The second container ends before the model of the first is extracted: nobody waits for it any more.
    data = "s3://bucket/many/" + ("" if mode == "MultiModel" else "many.tar.gz")
    image = {"Image": f"command:{SCRIPTED_CONTAINER}"}
    dying = {**image, "Environment": {"SCRIPT": '{"start": {"exit": 1}}'}} if mode == "SingleModel" else image
    containers = [{**image, "ModelDataUrl": data, "Mode": mode, "ContainerHostname": "big"}]
    containers += [{**dying, "ContainerHostname": "other"}]
    cloud.api.create_model(
        ModelName="m",
        ExecutionRoleArn=ROLE,
        Containers=containers,
        InferenceExecutionConfig={"Mode": "Direct"},
    )
    cloud.create("E", cloud.config("c", ("V", "m", 1.0, 1)))
    if mode == "MultiModel":
        cloud.settled("E")
        with ThreadPoolExecutor(1) as pool:
            doomed = pool.submit(cloud.invoke, "E", TargetModel="many.tar.gz", TargetContainerHostname="big")
            eventually(lambda: len(cloud.disks()) > 1000)
            cloud.delete("E")
            assert doomed.exception() is not None
    else:
        cloud.settled("E", "Failed")
    assert not cloud.disks()


def test_endpoints_that_come_and_go_leave_nothing_open(alone: Callable[..., Cloud]) -> None:
    cloud = alone(kind=Emulator)
    cloud.simple("m", count=2)
    cloud.simple("dying", start={"exit": 1})

    def round(number: int) -> None:
        cloud.create(f"Good{number}", "m")
        cloud.create(f"Bad{number}", "dying")
        cloud.settled(f"Good{number}")
        cloud.settled(f"Bad{number}", "Failed")
        for name in (f"Good{number}", f"Bad{number}"):
            cloud.api.delete_endpoint(EndpointName=name)
        eventually(lambda: not cloud.api.list_endpoints()["Endpoints"])

    worker = cloud.process().worker()
    round(0)
    eventually(lambda: not cloud.containers())
    files, threads = open_files_and_threads(worker)
    for number in range(1, 4):  # one more of each would show
        round(number)
    assert not cloud.disks()
    # Threads come as they are needed, up to a bound; one of our own connections may be new.
    eventually(
        lambda: open_files_and_threads(worker)[0] <= files + 2,
        what=f"{open_files_and_threads(worker)} after {(files, threads)}",
    )
    assert open_files_and_threads(worker)[1] <= max(threads, 40)


# In the middle of it


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_an_end_in_the_middle_of_everything_leaves_no_process(alone: Callable[..., Cloud], number: int) -> None:
    cloud = alone("--limit", "drain_seconds=3", kind=Emulator)
    cloud.simple("quick", invoke={"delay": 30})
    cloud.simple("slow", start={"listen": 60})
    cloud.model("first", image=f"command:sh -c 'mkdir {cloud.directory}/one || sleep 60; exec {SCRIPTED_CONTAINER}'")
    cloud.config("first", ("AllTraffic", "first", 1.0, 1))
    for name, config in (("Updating", "quick"), ("Deleting", "quick"), ("Scaling", "first")):
        cloud.create(name, config)
        cloud.settled(name)
    cloud.create("Creating", "slow")
    cloud.update("Updating", "slow")
    cloud.adjust("Scaling", {"VariantName": "AllTraffic", "DesiredInstanceCount": 3})
    eventually(lambda: len(cloud.containers()) == 2 * (2 + 1 + 3 + 1) + 2, what="all containers run")
    with ThreadPoolExecutor(1) as pool:
        doomed = pool.submit(cloud.invoke, "Deleting")
        eventually(lambda: cloud.in_flight("Deleting"))
        cloud.api.delete_endpoint(EndpointName="Deleting")
        statuses = {each["EndpointName"]: each["EndpointStatus"] for each in cloud.api.list_endpoints()["Endpoints"]}
        assert statuses == {
            "Updating": "Updating",
            "Deleting": "Deleting",
            "Scaling": "Updating",
            "Creating": "Creating",
        }
        cloud.end(number)
        assert doomed.exception() is not None
    assert "Traceback" not in cloud.emulator.log and "never awaited" not in cloud.emulator.log, cloud.emulator.log
    if number != signal.SIGKILL:
        assert not files_below(cloud.state / "instances")
