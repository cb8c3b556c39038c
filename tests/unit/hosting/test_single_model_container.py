"""One model of a container: on the disk before its container starts, from an archive or from objects as they are."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from emulator.archives.errors import ArchiveUnavailable
from emulator.archives.model_data_url import LocalS3, ModelData, S3Url
from emulator.clock import Clock
from emulator.containers.container import Container
from emulator.containers.contract import INVOCATIONS, Answer
from emulator.errors import SetupError
from emulator.events import Events, Origin
from emulator.hosting import single_model_container
from emulator.hosting.single_model_container import SingleModelContainer
from emulator.invocation import Invocation
from emulator.limits import Limits
from tests.support.files import archive
from tests.support.virtual_containers import VirtualContainer, VirtualContract
from tests.support.virtual_time import in_virtual_time

EVENTS = Events(Origin("e", "us-east-1", "A", "i-1", "primary"))
STORAGE = 1000


class Contract(VirtualContract):
    """Of a container with one model: what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []

    async def invoke(self, path: str, invocation: Invocation, timeout: float) -> Answer:
        self.paths.append(path)
        return Answer(200, [], b"answer")


class Scene:
    def __init__(self, directory: Path, model_data: ModelData | None, compressed: bool = True, **limits: Any) -> None:
        self.directory = directory / "disk" / "model"
        self.contract = Contract()
        self.seen: list[str] = []  # what the container found on the disk when it was made

        def new_container(_: Any) -> Container:
            self.seen = files(self.directory)
            return VirtualContainer(self.contract)

        self.container = SingleModelContainer(
            new_container, model_data, compressed, self.directory, STORAGE, Limits(**limits), EVENTS, Clock()
        )

    def start(self, *, then: Any = None) -> None:
        """Start it, and stop it again."""

        async def main() -> None:
            try:
                await self.container.start()
                if then is not None:
                    await then()
            finally:
                await self.container.stop()

        in_virtual_time(main())

    def failure(self) -> str:
        with pytest.raises(SetupError) as raised:
            self.start()
        return str(raised.value)


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    bucket = tmp_path / "bucket"
    archive(bucket / "model.tar.gz", {"a": "1", "code/b": "22"})
    (bucket / "broken.tar.gz").write_bytes(b"no archive")
    archive(bucket / "large.tar.gz", {"a": b"x" * (STORAGE + 1)})
    archive(bucket / "many.tar.gz", {str(number): "" for number in range(20)})
    (bucket / "plain" / "deeper").mkdir(parents=True)
    (bucket / "plain" / "one").write_text("1")
    (bucket / "plain" / "deeper" / "two").write_text("22")
    (bucket / "empty").mkdir()
    return bucket


def s3(bucket: Path, key: str) -> LocalS3:
    """That key, in the bucket that a directory stands for."""
    return LocalS3(bucket, S3Url("bucket", key))


@pytest.mark.parametrize(
    "data, compressed, on_disk",
    [
        ("model.tar.gz", True, ["a", "code/b"]),
        ("s3:model.tar.gz", True, ["a", "code/b"]),
        ("s3:plain/one", False, ["one"]),  # an object is copied by its last name
        ("s3:plain/deeper/two", False, ["two"]),
        ("s3:plain/", False, ["deeper/two", "one"]),
        ("", True, []),
    ],
)
def test_the_model_is_there_before_the_container(
    tmp_path: Path, bucket: Path, data: str, compressed: bool, on_disk: list[str]
) -> None:
    model_data: ModelData | None = s3(bucket, data[3:]) if data.startswith("s3:") else bucket / data if data else None
    scene = Scene(tmp_path, model_data, compressed)
    scene.start()
    assert scene.seen == on_disk
    assert scene.directory.is_dir()
    assert scene.container.disk_used == sum((scene.directory / name).stat().st_size for name in on_disk)


def test_what_an_earlier_run_left_on_the_disk_is_removed(tmp_path: Path, bucket: Path) -> None:
    scene = Scene(tmp_path, bucket / "model.tar.gz")
    scene.directory.mkdir(parents=True)
    (scene.directory / "old").touch()
    scene.start()
    assert scene.seen == ["a", "code/b"]


def test_every_invocation_goes_to_the_one_model(tmp_path: Path, bucket: Path) -> None:
    scene = Scene(tmp_path, bucket / "model.tar.gz")

    async def invoke() -> None:
        answer = await scene.container.invoke(Invocation("e", b"", 0.0), asyncio.get_running_loop().time() + 1)
        assert answer.body == b"answer"

    scene.start(then=invoke)
    assert scene.contract.paths == [INVOCATIONS]


@pytest.mark.parametrize(
    "data, compressed, words",
    [
        ("none.tar.gz", True, "Failed to download model data"),
        ("s3:none.tar.gz", True, "Failed to download model data"),
        ("s3:none", False, "Failed to download model data"),
        ("s3:empty/", False, "Failed to download model data"),
        ("broken.tar.gz", True, "Failed to extract model data archive"),
        ("large.tar.gz", True, "Failed to extract model data archive"),
        ("many.tar.gz", True, "Failed to extract model data archive"),
    ],
)
def test_a_model_that_cannot_be_had_is_an_error_that_names_it(
    tmp_path: Path, bucket: Path, data: str, compressed: bool, words: str
) -> None:
    model_data: ModelData = s3(bucket, data[3:]) if data.startswith("s3:") else bucket / data
    scene = Scene(tmp_path, model_data, compressed, archive_files=10)
    error = scene.failure()
    assert error.startswith(f'{words} for container "primary" from URL')
    assert f'"{model_data}"' in error
    assert scene.contract.paths == []


@pytest.mark.parametrize(
    "error, words",
    [
        (ArchiveUnavailable("S3 does not answer."), "S3 does not answer."),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "There is no space left below"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "There is no space left below"),
    ],
    ids=repr,
)
def test_what_stands_in_the_way_is_said(
    tmp_path: Path, bucket: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(single_model_container, "extract", fail)
    assert words in Scene(tmp_path, bucket / "model.tar.gz").failure()


def test_a_fault_that_is_not_the_disk_s_size_is_not_hidden(
    tmp_path: Path, bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(single_model_container, "extract", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        Scene(tmp_path, bucket / "model.tar.gz").start()


def test_a_stop_waits_for_the_extraction(tmp_path: Path, bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a thread would write to a disk that is being deleted."""
    extracting, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(*_: Any, **__: Any) -> Any:
        extracting.set()
        assert may_end.wait(20)
        ended.set()
        raise OSError(errno.EIO, "it was closed")

    monkeypatch.setattr(single_model_container, "extract", slow)

    async def main() -> None:
        scene = Scene(tmp_path, bucket / "model.tar.gz")
        starting = asyncio.ensure_future(scene.container.start())
        await asyncio.to_thread(extracting.wait, 20)
        starting.cancel()
        stopping = asyncio.ensure_future(scene.container.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        may_end.set()
        await stopping
        assert ended.is_set()
        await asyncio.gather(starting, return_exceptions=True)

    asyncio.run(main())
