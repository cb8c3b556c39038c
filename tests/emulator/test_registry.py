"""What was created through the API is there after a restart, whatever ended the emulator."""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.cloud import ACCOUNT_ARN, ROLE, Cloud
from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.processes import free_port, runs
from tests.support.scripted_models import SCRIPTED_CONTAINER
from tests.support.waiting import eventually

ROUNDS = 4  # of being killed


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """An emulator that can be stopped and started again."""
    cloud = Cloud(tmp_path)
    yield cloud
    cloud.close()


@pytest.fixture
def killable(tmp_path: Path) -> Iterator[Cloud]:
    """An emulator that is a process."""
    cloud = Cloud(tmp_path, kind=Emulator)
    yield cloud
    cloud.close()


@pytest.fixture(params=["cloud", "killable"], ids=["stopped", "killed"])
def ending(request: pytest.FixtureRequest) -> Cloud:
    """Either of them; see ``end``."""
    found: Cloud = request.getfixturevalue(request.param)
    return found


def end(cloud: Cloud) -> None:
    """Stop it, or kill it if that can be."""
    cloud.end(signal.SIGKILL if isinstance(cloud.emulator, Emulator) else signal.SIGTERM)


def names(cloud: Cloud, kind: str) -> set[str]:
    pages = cloud.api.get_paginator(f"list_{kind}s").paginate()
    member = {"model": "Model", "endpoint_config": "EndpointConfig", "endpoint": "Endpoint"}[kind]
    return {each[f"{member}Name"] for page in pages for each in page[f"{member}s"]}


# Restarts


def test_everything_is_there_after_a_restart(ending: Cloud) -> None:
    cloud = ending.start()
    cloud.model("a", invoke={"body": "a"})
    cloud.model("b", invoke={"body": "b"})
    cloud.config("c", ("A", "a", 1.0, 1), ("B", "b", 1.0, 1))
    cloud.create("Mixed", "c")
    cloud.create("Failing", cloud.simple("dying", start={"exit": 3, "lines": ["last words"]}))
    cloud.settled("Mixed")
    cloud.adjust("Mixed", {"VariantName": "A", "DesiredWeight": 0}, {"VariantName": "B", "DesiredInstanceCount": 2})
    arn = f"{ACCOUNT_ARN}:endpoint/mixed"
    cloud.api.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "örange"}, {"Key": "gone", "Value": ""}])
    cloud.api.delete_tags(ResourceArn=arn, TagKeys=["gone"])
    cloud.settled("Mixed")
    cloud.settled("Failing", "Failed")
    cloud.api.delete_model(ModelName="b")  # the endpoint goes on without it

    def told() -> list[Any]:
        answers = [
            cloud.api.describe_model(ModelName="a"),
            cloud.api.describe_endpoint_config(EndpointConfigName="c"),
            cloud.settled("Mixed"),
            cloud.describe("Failing"),
            cloud.api.list_tags(ResourceArn=arn)["Tags"],
            names(cloud, "model"),
        ]
        for answer in answers[:4]:
            answer.pop("ResponseMetadata")
        answers[2].pop("LastModifiedTime")  # it has come into service again
        return answers

    before = told()
    assert "last words" in before[3]["FailureReason"] and before[4] == [{"Key": "team", "Value": "örange"}]
    end(cloud)
    cloud.start()
    assert cloud.status("Failing") == "Failed", "it is not tried again"
    assert told() == before
    assert {cloud.invoke("Mixed") for _ in range(20)} == {"b"}
    assert cloud.instances_of("Failing") == [] and len(cloud.instances_of("Mixed")) == 3
    cloud.delete("Failing")


def test_a_worker_that_is_killed_is_replaced_and_after_a_kill_of_the_master_the_same_command_serves_again_at_once(
    tmp_path: Path, gate: Path
) -> None:
    cloud = Cloud(tmp_path, "--port", str(free_port()), kind=Emulator)
    cloud.start()
    try:
        cloud.create("E", cloud.simple("m", invoke={"until": str(gate), "body": "m"}))
        cloud.settled("E")
        before, worker = cloud.containers(), cloud.process().worker()
        worker.kill()
        worker.wait(60)
        eventually(lambda: cloud.process().processes()[1:])
        cloud.settled("E")
        with ThreadPoolExecutor() as pool:
            under_way = pool.submit(cloud.invoke, "E")
            eventually(lambda: cloud.in_flight("E"))
            assert not any(map(runs, before))
            cloud.process().signal(signal.SIGKILL)
            cloud.start()
            assert isinstance(under_way.exception(), (BotoCoreError, ClientError))
        gate.touch()
        cloud.settled("E")
        assert cloud.invoke("E") == "m"
        cloud.end()
        assert not (cloud.state / "instances").exists()
    finally:
        cloud.close()


def test_what_is_left_of_a_killed_emulator_is_waited_for_with_its_endpoint_in_service(killable: Cloud) -> None:
    cloud = killable.start()
    cloud.create("e", cloud.simple("m", invoke={"body": "m"}))
    cloud.settled("e")
    killed = cloud.process()
    worker, containers = killed.worker(), cloud.containers()
    worker.suspend()  # one that takes long to leave
    killed.signal(signal.SIGKILL)
    killed.wait()
    waiting = cloud.launch()
    eventually(lambda: waiting.errors, what="it says that it waits")
    assert waiting.log == f"Waiting for what is left of a killed emulator to leave {cloud.state} ..."
    worker.resume()
    waiting.wait_ready()
    cloud.connect()
    cloud.settled("e")
    assert cloud.invoke("e") == "m" and not any(map(runs, containers))


def test_what_was_under_way_is_continued(ending: Cloud) -> None:
    cloud = ending.start()
    gate = cloud.directory / "open"
    waits = f"command:sh -c 'until test -e {gate}; do sleep 0.05; done; exec {SCRIPTED_CONTAINER}'"
    cloud.simple("old", invoke={"body": "old", "delay": 0.3})
    cloud.simple("new", image=waits, invoke={"body": "new"})
    cloud.model("more", image=f"command:sh -c 'mkdir {cloud.directory}/one || sleep 60; exec {SCRIPTED_CONTAINER}'")
    cloud.config("more", ("AllTraffic", "more", 1.0, 1))
    for name, config in (("Updating", "old"), ("Deleting", "old"), ("Scaling", "more")):
        cloud.create(name, config)
        cloud.settled(name)
    cloud.create("Creating", "new")
    cloud.update("Updating", "new")
    cloud.adjust("Scaling", {"VariantName": "AllTraffic", "DesiredInstanceCount": 2})
    cloud.api.delete_endpoint(EndpointName="Deleting")
    end(cloud)
    (cloud.directory / "one").rmdir()
    cloud.start()
    assert names(cloud, "endpoint") == {"Updating", "Scaling", "Creating"}
    eventually(lambda: cloud.status("Updating") == "Updating")
    assert cloud.describe("Updating")["EndpointConfigName"] == "old" and cloud.invoke("Updating") == "old"
    assert cloud.status("Creating") == "Creating"
    gate.touch()
    for name in ("Updating", "Creating"):
        assert cloud.settled(name)["EndpointConfigName"] == "new" and cloud.invoke(name) == "new"


def test_an_update_that_has_become_impossible_has_failed(cloud: Cloud) -> None:
    cloud.start()
    archive(cloud.s3 / "bucket" / "m.tar.gz", {"answer.txt": "m"})
    cloud.create("E", cloud.simple("old"))
    cloud.simple("new", data="m.tar.gz", start={"listen": False})
    cloud.settled("E")
    cloud.update("E", "new")
    cloud.end()
    (cloud.s3 / "bucket" / "m.tar.gz").unlink()
    cloud.start()
    reason = "Could not find model data at s3://bucket/m.tar.gz"
    described = eventually(lambda: (told := cloud.settled("E")).get("FailureReason") and told)
    assert reason in described["FailureReason"] and described["EndpointConfigName"] == "old"
    cloud.end()
    cloud.start()
    assert "FailureReason" not in cloud.settled("E"), "the update is not tried again"


def test_an_endpoint_whose_model_is_away_comes_back_with_it(cloud: Cloud) -> None:
    cloud.start()
    path, handler = cloud.s3 / "bucket" / "m.tar.gz", cloud.directory / "handler.py"
    archive(path, {"weights": "1"})
    handler.write_text("def model_fn(directory):\n    return 1\n\ndef predict_fn(data, model):\n    return [model]\n")
    cloud.simple("archive", data="m.tar.gz")
    cloud.simple("handler", image=f"handler:{handler}", data="m.tar.gz")
    for name in ("archive", "handler"):
        cloud.create(name, name)
    for name in ("archive", "handler"):
        cloud.settled(name)
    for missing, failing in ((path, {"archive", "handler"}), (handler, {"handler"})):
        cloud.end()
        away = missing.rename(missing.with_suffix(".away"))
        cloud.start()
        for name in ("archive", "handler"):
            reason = cloud.settled(name, "Failed" if name in failing else "InService").get("FailureReason", "")
            assert (missing.name in reason) == (name in failing)
            assert bool(cloud.instances_of(name)) == (name not in failing)
        away.rename(missing)
    cloud.end()
    cloud.start()
    for name in ("archive", "handler"):
        assert "FailureReason" not in cloud.settled(name)


# Kills


class Writer(threading.Thread):
    """Creates, changes and deletes until the emulator does not answer. ``known`` is what was acknowledged.

    Of the call that was not answered, in ``open``, either outcome is right.
    """

    def __init__(self, cloud: Cloud, known: dict[tuple[str, str], dict[str, str]], chance: random.Random) -> None:
        super().__init__()
        self.known = known
        self.open: tuple[tuple[str, str], dict[str, str] | None] | None = None
        self.wrong: list[BaseException] = []
        self.done = 0
        self._cloud, self._chance = cloud, chance

    def run(self) -> None:
        """A few hundred calls would be enough: it is killed long before."""
        for number in range(5000):
            kind, name = self._chance.choice(("model", "endpoint-config", "endpoint")), f"n{self._chance.randrange(6)}"
            tags = self.known.get((kind, name))
            wanted = self._wanted(tags, number)
            self.open = (kind, name), wanted
            try:
                self._ask(kind, name, tags, wanted)
            except BotoCoreError:  # no answer
                return
            except ClientError as error:
                if "in-progress" not in str(error) and "already existing endpoint" not in str(error):
                    self.wrong.append(error)
                    return
                continue  # the endpoint is still being created or deleted: nothing has changed
            if wanted is None:
                del self.known[kind, name]
            else:
                self.known[kind, name] = wanted
            self.open = None
            self.done += 1

    def _wanted(self, tags: dict[str, str] | None, number: int) -> dict[str, str] | None:
        if tags is None:
            return {"made": str(number)}
        return None if self._chance.random() < 0.4 else {**tags, "changed": str(number)}

    def _ask(self, kind: str, name: str, tags: dict[str, str] | None, wanted: dict[str, str] | None) -> None:
        api = self._cloud.api
        if wanted is not None and tags is not None:
            added = [{"Key": "changed", "Value": wanted["changed"]}]
            api.add_tags(ResourceArn=f"{ACCOUNT_ARN}:{kind}/{name}", Tags=added)
            return
        more: dict[str, Any] = {"Tags": [{"Key": "made", "Value": wanted["made"]}]} if wanted else {}
        if kind == "model":
            if wanted:
                container = {"Image": f"command:{SCRIPTED_CONTAINER}"}
                api.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container, **more)
            else:
                api.delete_model(ModelName=name)
        elif kind == "endpoint-config":
            if wanted:
                variant = {"VariantName": "V", "ModelName": "ends", "InstanceType": "ml.m5.large"}
                more["ProductionVariants"] = [{**variant, "InitialInstanceCount": 1}]
                api.create_endpoint_config(EndpointConfigName=name, **more)
            else:
                api.delete_endpoint_config(EndpointConfigName=name)
        elif wanted:
            api.create_endpoint(EndpointName=name, EndpointConfigName="ends", **more)
        else:
            api.delete_endpoint(EndpointName=name)


def there(cloud: Cloud) -> dict[tuple[str, str], dict[str, str]]:
    """All that the API tells of, with its tags."""
    found = {
        (kind.replace("_", "-"), name): {}
        for kind in ("model", "endpoint_config", "endpoint")
        for name in names(cloud, kind) - {"ends"}
    }
    for kind, name in found:
        tags = cloud.api.list_tags(ResourceArn=f"{ACCOUNT_ARN}:{kind}/{name}")["Tags"]
        found[kind, name] = {tag["Key"]: tag["Value"] for tag in tags}
    return found


def test_what_was_acknowledged_survives_a_kill_at_any_moment(killable: Cloud) -> None:
    chance = random.Random(20261122)
    cloud = killable.start()
    cloud.simple("ends", image="command:false")
    known: dict[tuple[str, str], dict[str, str]] = {}
    calls = 0
    for _ in range(ROUNDS):
        writer = Writer(cloud, known, chance)
        writer.start()
        goal = chance.randrange(1, 30)
        eventually(lambda writer=writer, goal=goal: writer.done >= goal or not writer.is_alive())
        threading.Event().wait(chance.random() * 0.01)  # the moment of the kill is to fall anywhere in a call
        cloud.end(signal.SIGKILL)
        writer.join()
        assert not writer.wrong, writer.wrong
        calls += writer.done
        cloud.start()
        found = there(cloud)
        possible = [known]
        if writer.open is not None:
            (kind, name), wanted = writer.open
            possible.append({key: tags for key, tags in known.items() if key != (kind, name)})
            if wanted is not None:
                possible[-1][kind, name] = wanted
        assert found in possible
        known = found
        for kind, name in found:
            if kind == "endpoint":
                assert cloud.settled(name, "Failed")["FailureReason"]
    assert calls > 5 * ROUNDS


# A disk that takes nothing


def test_serve_ends_with_the_reason_when_its_registry_cannot_be_used(cloud: Cloud) -> None:
    cloud.state.mkdir()
    (cloud.state / "registry.db").write_bytes(b"this is no database" * 100)
    emulator = cloud.launch()
    assert emulator.wait() == 3
    assert "registry.db" in emulator.log and "Traceback" not in emulator.log and not emulator.output


@contextmanager
def refusing_database(cloud: Cloud) -> Iterator[None]:
    """Every write to the registry fails, as on a full disk."""
    with sqlite3.connect(cloud.state / "registry.db") as database:
        for event in ("INSERT", "UPDATE", "DELETE"):
            refusal = "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
            database.execute(f"CREATE TRIGGER no_{event} BEFORE {event} ON records {refusal}")
    try:
        yield
    finally:
        with database:
            for event in ("INSERT", "UPDATE", "DELETE"):
                database.execute(f"DROP TRIGGER no_{event}")
        database.close()


@contextmanager
def files_that_cannot_grow(cloud: Cloud) -> Iterator[None]:
    """The emulator cannot write to any file."""
    worker = cloud.process().worker()
    before = worker.rlimit(psutil.RLIMIT_FSIZE)
    worker.rlimit(psutil.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        worker.rlimit(psutil.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("ending", "full"),
    [("cloud", refusing_database), ("killable", files_that_cannot_grow)],
    indirect=["ending"],
    ids=["refusing database", "files that cannot grow"],
)
def test_a_disk_that_takes_nothing_changes_nothing(
    ending: Cloud, full: Callable[[Cloud], AbstractContextManager[None]]
) -> None:
    cloud = ending.start()
    cloud.create("e", cloud.simple("m", invoke={"body": "m"}))
    cloud.simple("n", invoke={"body": "n"})
    cloud.settled("e")
    before = there(cloud)
    arn = f"{ACCOUNT_ARN}:endpoint/e"
    api = cloud.api
    calls: list[Callable[[], Any]] = [
        lambda: cloud.model("x"),
        lambda: cloud.config("x", ("V", "m", 1.0, 1)),
        lambda: cloud.create("x", "m"),
        lambda: cloud.update("e", "n"),
        lambda: cloud.adjust("e", {"VariantName": "AllTraffic", "DesiredInstanceCount": 2}),
        lambda: api.add_tags(ResourceArn=arn, Tags=[{"Key": "k", "Value": "v"}]),
        lambda: api.delete_model(ModelName="m"),
        lambda: api.delete_endpoint_config(EndpointConfigName="m"),
        lambda: api.delete_endpoint(EndpointName="e"),
    ]
    described = cloud.describe("e")
    with full(cloud):
        for call in calls:
            with pytest.raises(ClientError) as caught:
                call()
            assert caught.value.response["Error"]["Code"] == "InternalFailure"
            assert str(caught.value).endswith("Nothing has changed.")
        after = cloud.describe("e")
        del described["ResponseMetadata"], after["ResponseMetadata"]
        assert after == described and there(cloud) == before and cloud.invoke("e") == "m"
        assert len(cloud.instances_of("e")) == 1 and not cloud.instances_of("x")
    for call in calls[:4]:
        call()
    end(cloud)
    cloud.start()
    assert cloud.settled("x") and there(cloud).keys() == before.keys() | {
        ("model", "x"),
        ("endpoint-config", "x"),
        ("endpoint", "x"),
    }


def test_a_disk_that_fills_up_during_an_update_does_not_stop_it(cloud: Cloud) -> None:
    cloud.start()
    gate = cloud.directory / "open"
    waits = f"command:sh -c 'until test -e {gate}; do sleep 0.05; done; exec {SCRIPTED_CONTAINER}'"
    cloud.create("E", cloud.simple("old", invoke={"body": "old"}))
    cloud.simple("new", image=waits, invoke={"body": "new"})
    cloud.settled("E")
    cloud.update("E", "new")
    with refusing_database(cloud):
        gate.touch()
        assert cloud.settled("E")["EndpointConfigName"] == "new" and cloud.invoke("E") == "new"
        eventually(lambda: len(cloud.instances_of("E")) == 1)
        assert "database or disk is full" in cloud.emulator.log
    cloud.end()
    cloud.start()
    eventually(lambda: cloud.settled("E")["EndpointConfigName"] == "new")
    assert cloud.invoke("E") == "new"
