"""What ``localmme check`` finds of real servers: each verdict that is not a pass was looked into, and is true."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.checking import NAMES, Report, all_but, checked
from tests.support.files import archive
from tests.support.real_servers import (
    huggingface,
    mms,
    models,
    scikit_learn,
    tensors,
    torch_models,
    torchserve,
    triton,
    xgboost_algorithm,
)
from tests.support.real_servers.images import Images
from tests.support.real_servers.served import command_of

NOT_AN_IMAGE = dict.fromkeys(("labels", "entry-point", "architecture", "manifest", "program", "user"), "skipped")
NEVER_FULL = {"memory-full": "skipped", "reload-after-507": "skipped"}  # a process, which has no limit

HANDLER = """
import json
from pathlib import Path


def model_fn(directory):
    settings = json.loads(Path(directory, "model.json").read_text())
    return settings["weights"], b"\\x01" * int(settings["megabytes"] * 2**20)


def predict_fn(data, model):
    return {"weights": model[0]}
"""
# Models that hold one of some locks while they are loaded, and find that memory is full when there is none left.
SLOTS = """
import fcntl

held = []


def take_a_slot():
    for path in {paths}:
        slot = open(path, "w")
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held.append(slot)
            return
        except BlockingIOError:
            slot.close()
    raise MemoryError("out of memory: all slots are taken")
"""
MMS_HANDLER = """
import sys

sys.path.insert(0, {directory!r})
import model_handler


def handle(data, context):
    if data is None:
        take_a_slot()
    return model_handler.handle(data, context)
"""
TRITON_MODEL = """
class Limited(TritonPythonModel):
    def initialize(self, args):
        take_a_slot()
        super().initialize(args)


TritonPythonModel = Limited
"""


def slots(directory: Path, count: int = 4) -> str:
    """The code that lets so many models be loaded at once."""
    return SLOTS.format(paths=[str(directory / str(number)) for number in range(count)])


def mms_arguments(tmp_path: Path, *command: str) -> list[str]:
    model = models.mms_model(tmp_path, "model.tar.gz", 7, megabytes=20)
    return ["--command", shlex.join(command), "--model", str(model), "--data", '{"x": 2}']


def triton_arguments(tmp_path: Path, model: Path) -> list[str]:
    body, content_type = tensors.json_request([1, 2.5])
    sample = tmp_path / "request.json"
    sample.write_bytes(body)
    return ["--model", str(model), "--data", f"@{sample}", "--content-type", content_type]


def plain_arguments(tmp_path: Path) -> list[str]:
    model = archive(tmp_path / "model.tar.gz", {"model.json": '{"weights": [2, 3], "bias": 1, "megabytes": 20}'})
    return ["--model", str(model), "--data", '{"features": [[1, 2]]}']


def test_the_embedded_server_with_a_handler(tmp_path: Path) -> None:
    handler = tmp_path / "handler.py"
    handler.write_text(HANDLER)
    arguments = ["--handler", str(handler), *plain_arguments(tmp_path), "--content-type", "application/json"]
    report = checked(*arguments, only=all_but("memory-full", "reload-after-507"))
    assert (report.odd(), report.exit_code) == (NOT_AN_IMAGE, 0), str(report)


@pytest.mark.real
class TestMultiModelServer:
    def test_as_a_process(self, tmp_path: Path) -> None:
        # load-unload-growth is a matter of chance: now and then an unload leaves the model's worker behind.
        # Of a process, --memory is how much of it is tried.
        arguments = [*mms_arguments(tmp_path, *command_of(mms)), "--memory", "100MB"]
        report = checked(*arguments, only=all_but("load-unload-growth"))
        assert report.odd() == {
            **NOT_AN_IMAGE,
            **NEVER_FULL,
            # The tests' handler answers with the header that it was sent, and of an answer's headers Multi Model Server
            # takes less than 1024 characters: "Message size exceed limit: 1024", and the worker is ended.
            "invoke-headers": "fail",
        }, str(report)

    def test_it_keeps_what_it_refused_with_507(self, tmp_path: Path) -> None:
        handler = tmp_path / "handler.py"
        handler.write_text(slots(tmp_path) + MMS_HANDLER.format(directory=str(mms.HANDLER.parent)))
        command_of(mms)
        arguments = mms_arguments(tmp_path, *mms.command(handler))
        for _ in range(3):  # on a busy machine it forgets the model after all, one time in some 40
            report = checked(*arguments, only=("starts", "load", "memory-full", "reload-after-507"))
            if report.odd():
                break
        assert report.odd() == {"reload-after-507": "fail"}, str(report)
        assert report.checks["reload-after-507"]["received"].startswith("409")


@pytest.mark.real
class TestTriton:
    # It lists {"models": [{}]}. A load in JSON without a model_name ends it with an exception that nothing catches.
    ODD: Mapping[str, str] = {"list": "warn", "broken-json": "fail"}

    def test_as_a_process(self, tmp_path: Path) -> None:
        model = models.triton_model(tmp_path, "model.tar.gz", 3, megabytes=20)
        arguments = ["--command", shlex.join(command_of(triton)), *triton_arguments(tmp_path, model)]
        # ping-while-busy is a matter of chance: now and then all calls wait for a load, which takes 2 s. list-pages
        # loads many models, to say the same as list.
        left_out = ("ping-while-busy", "load-unload-growth", "list-pages", "memory-full", "reload-after-507")
        report = checked(*arguments, only=all_but(*left_out))
        assert report.odd() == {**NOT_AN_IMAGE, **self.ODD}, str(report)
        assert report.checks["list"]["received"].startswith('200 text/plain {"models":[{}]}')

    def test_it_loads_again_what_it_refused_with_507(self, tmp_path: Path) -> None:
        code = f"{models.TRITON_MODEL.read_text()}\n{slots(tmp_path)}\n{TRITON_MODEL}"
        ordinary = models.unpack(models.triton_model(tmp_path, "ordinary.tar.gz", 3), tmp_path / "ordinary")
        configuration = (ordinary / "multiplier" / "config.pbtxt").read_bytes()
        files = {"multiplier/config.pbtxt": configuration, "multiplier/1/model.py": code.encode()}
        model = models.pack(tmp_path / "model.tar.gz", files)
        arguments = ["--command", shlex.join(command_of(triton)), *triton_arguments(tmp_path, model)]
        report = checked(*arguments, only=("starts", "load", "memory-full", "reload-after-507"))
        assert report.odd() == {}, str(report)


@pytest.mark.real
class TestFrameworks:
    """AWS's containers for frameworks: the checks that need few loads, each of which imports the framework."""

    FEW_LOADS = (
        *("starts", "bind-to-port", "ping", "list-empty", "load", "load-broken", "get", "invoke"),
        *("unknown-model-invoke", "unknown-model-get", "unknown-model-unload", "broken-json", "sigterm"),
    )
    MORE_LOADS = ("load-duplicate", "load-missing", "list")
    # They read a model's files, and a handler, when it is first invoked.
    LOADS_ANYTHING: Mapping[str, str] = {"load-broken": "warn"}

    def check(
        self, server: ModuleType, model: Path, data: str, content_type: str, *options: str, more: tuple[str, ...] = ()
    ) -> Report:
        sample = ("--model", str(model), "--data", data, "--content-type", content_type)
        checks = (*self.FEW_LOADS, *more)
        return checked("--command", shlex.join(command_of(server)), *sample, *options, only=checks)

    def test_scikit_learn(self, tmp_path: Path) -> None:
        model = scikit_learn.model(tmp_path / "model.tar.gz", 2)
        report = self.check(scikit_learn, model, "1,0\n2,0.5", "text/csv", more=self.MORE_LOADS)
        assert report.odd() == self.LOADS_ANYTHING, str(report)

    def test_xgboost(self, tmp_path: Path) -> None:
        model = xgboost_algorithm.model(tmp_path / "model.tar.gz", 2)
        report = self.check(xgboost_algorithm, model, "5\n7", "text/csv")
        assert report.odd() == self.LOADS_ANYTHING, str(report)

    def test_torchserve(self, tmp_path: Path) -> None:
        model = torch_models.packed("double", tmp_path / "model.tar.gz")
        option = ("--env", "TS_ENABLE_MODEL_API=true")
        report = self.check(torchserve, model, "[[1.0]]", "application/json", *option)
        assert report.odd() == {}, str(report)

    def test_hugging_face(self, tmp_path: Path) -> None:
        model = torch_models.packed("bert", tmp_path / "model.tar.gz")
        option = ("--env", "HF_TASK=text-classification")
        report = self.check(huggingface, model, '{"inputs": "fine"}', "application/json", *option)
        assert report.odd() == self.LOADS_ANYTHING, str(report)


@pytest.mark.docker
class TestImages:
    SOME = (
        *("labels", "entry-point", "starts", "bind-to-port", "connect", "ping", "load", "load-missing", "get", "list"),
        *("invoke", "unknown-model-invoke", "unknown-model-get", "unknown-model-unload", "broken-json", "sigterm"),
    )

    def test_plain(self, images: Images, tmp_path: Path) -> None:
        report = checked("--image", images.plain(), *plain_arguments(tmp_path))
        assert (report.odd(), report.exit_code) == ({}, 0), str(report)
        assert tuple(report.checks) == NAMES

    def test_multi_model_server(self, images: Images, tmp_path: Path) -> None:
        arguments = plain_arguments(tmp_path)
        report = checked("--image", images.multi_model_server(), "--memory", "2g", *arguments, only=self.SOME)
        assert (report.odd(), report.exit_code) == ({}, 0), str(report)

    def test_triton(self, images: Images, tmp_path: Path) -> None:
        model = models.triton_model(tmp_path, "model.tar.gz", 3, subdirectory="")
        arguments = triton_arguments(tmp_path, model)
        report = checked("--image", images.triton(), "--memory", "1g", *arguments, only=self.SOME)
        # With the model's files at the root of the archive, the modelUrl has lost the "/model" that it was loaded with.
        assert report.odd() == {"get": "warn", "list": "warn", "broken-json": "fail"}, str(report)
