"""The event loop does no disk work: a slow disk would hold up every other invocation."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_plane import ROLE, variant_of
from tests.support.emulator_in_process import EVENT_LOOP, InProcessEmulator
from tests.support.scripted_models import scripted_model
from tests.support.waiting import eventually

AUDITED = ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.utime")
_watching: list[DiskWork] = []  # one at most


class DiskWork:
    """What event loops do with files below some directory, each with where in the emulator it was done."""

    def __init__(self, below: Path) -> None:
        self.found: list[str] = []
        self._below = str(below)

    def note(self, what: str, path: Any) -> None:
        if threading.current_thread().name != EVENT_LOOP or not isinstance(path, (str, bytes, os.PathLike)):
            return
        if os.fsdecode(path).startswith(self._below):
            frames = [frame for frame in traceback.extract_stack() if "/emulator/" in frame.filename]
            # If there are none, it is the test's own. To connect to a socket is to look up its path, which takes a look
            # at its directory if the path is long; a thread for that would wait behind those that extract models.
            if frames and not frames[-1].filename.endswith("/containers/unix_socket.py"):
                self.found.append(f"{what} {os.fsdecode(path)} {[f'{f.filename}:{f.lineno}' for f in frames[-3:]]}")


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in AUDITED:
        _watching[0].note(event, arguments[0])


Watch = Callable[[Path], DiskWork]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Begins to watch event loops. An audit hook stays for the life of the process, so it has a switch."""
    sys.addaudithook(_audit)

    def begin(below: Path) -> DiskWork:
        work = DiskWork(below)
        _watching.append(work)
        for name in ("stat", "lstat", "readlink"):  # of which there is no audit event
            monkeypatch.setattr(os, name, _noted(name, getattr(os, name), work))
        return work

    yield begin
    _watching.clear()


def _noted(name: str, function: Callable[..., Any], work: DiskWork) -> Callable[..., Any]:
    def call(path: Any, *arguments: Any, **options: Any) -> Any:
        work.note(name, path)
        return function(path, *arguments, **options)

    return call


def test_emulators_models_instances_and_objects_come_and_go_without_disk_work_on_the_event_loop(
    watch: Watch, scripted: Callable[..., InProcessEmulator], bucket: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        scripted_model(bucket / name, f"I am {name}")
    work = watch(tmp_path)
    emulator = scripted("--max-loaded-models", "1", "--reload")
    for name in ("a", "b", "a"):
        emulator.invoke(name)
    scripted_model(bucket / "a", "I am another")
    emulator.invoke("a")
    emulator.state()
    sagemaker = emulator.client_of("sagemaker")
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="local", DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    )
    eventually(lambda: emulator.state()["status"] == "InService" and len(emulator.instances()) == 2, what="scaled")
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="local", DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 1}]
    )
    eventually(lambda: emulator.state()["status"] == "InService" and len(emulator.instances()) == 1, what="scaled")
    s3 = emulator.client_of("s3")
    s3.create_bucket(Bucket="made")
    s3.put_object(Bucket="made", Key="new/object", Body=b"data")
    assert s3.get_object(Bucket="made", Key="new/object")["Body"].read() == b"data"
    s3.list_objects_v2(Bucket="made")
    s3.delete_object(Bucket="made", Key="new/object")
    sagemaker.delete_endpoint(EndpointName="local")
    eventually(lambda: not emulator.states(), what="deleted")
    (handler := tmp_path / "handler.py").touch()
    container = {"Image": f"handler:{handler}", "ModelDataUrl": "s3://made/models/", "Mode": "MultiModel"}
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant_of("m")])
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    eventually(emulator.processes, what="the container starts")
    emulator.stop()
    assert not work.found, "\n".join(work.found)
