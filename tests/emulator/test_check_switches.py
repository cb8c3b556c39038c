"""``localmme check`` finds each fault of a container that has just this one, and no other: see broken_container.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from localmme.check.harness import Harness
from tests.support.checking import NAMES, Report, all_but, checked
from tests.support.files import archive
from tests.support.real_servers.images import BIND_TO_PORT_LABEL, FROM, MULTI_MODEL_LABEL, SAMPLES, Images
from tests.support.repository import REPOSITORY

CONTAINER = REPOSITORY / "tests" / "support" / "broken_container.py"
OF_IMAGES = ("labels", "entry-point", "architecture", "manifest", "program", "user")
NEVER_FAILS = "metrics"  # tests/services/sagemaker/test_metrics_scraping.py tries it
SWITCHES = [name for name in NAMES if name not in (*OF_IMAGES, NEVER_FAILS)]

# Faults that one container may have at once: each is wrong with requests of another kind.
TOGETHER = (
    ("list-empty", "load-duplicate", "invoke-headers", "unknown-model-unload"),
    ("list-pages", "load-missing", "invoke-content-type", "unknown-model-get"),
    ("load-broken", "get", "invoke-binary"),
    ("opaque-names", "invoke-large"),
    ("concurrent-loads", "unknown-model-invoke"),
    ("unknown-path", "broken-json"),
)
ALONE = [(name,) for name in SWITCHES if not any(name in group for group in TOGETHER)]

# What cannot be told any more, as it takes what the switch breaks.
NEEDS_A_MODEL = (
    *("ping-while-busy", "load-duplicate", "get", "list", "list-pages", "opaque-names", "invoke", "invoke-headers"),
    *("invoke-content-type", "invoke-binary", "invoke-large", "unload", "concurrent-loads", "load-while-invoking"),
    *("unload-frees-memory", "load-unload-growth", "memory-full", "reload-after-507"),
)
CANNOT_BE_TOLD = {
    "starts": [name for name in (*SWITCHES, NEVER_FAILS) if name != "starts"],
    "load": NEEDS_A_MODEL,
    "invoke": ("invoke-headers", "invoke-content-type"),
    "memory-full": ("reload-after-507",),
}

# What takes most of the time is left out where the switch has nothing to do with it.
SLOW = (
    ("ping-while-busy", "load-while-invoking"),
    ("unload-frees-memory", "load-unload-growth"),
    ("memory-full", "reload-after-507"),
)
IN_FULL = ("", "starts", "load")

DOCKERFILE = """
COPY serve.py broken_container.py /opt/program/
ENV MALLOC_MMAP_THRESHOLD_=131072
"""
ENTRY_POINT = 'ENTRYPOINT ["python", "/opt/program/broken_container.py"]\n'
SHELL_FORM = "ENTRYPOINT {}python /opt/program/broken_container.py\n"
TINI = 'COPY tini /usr/bin/tini\nENTRYPOINT ["tini", "--", "python", "/opt/program/broken_container.py"]\n'
# What it does is not the point: that SageMaker's argument confuses tini is told by its name.
FILES = {
    "tini": '#!/bin/sh\nshift\nexec "$@"\n',
    "serve.py": (SAMPLES / "plain" / "serve.py").read_bytes(),
    "broken_container.py": CONTAINER.read_bytes(),
}


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not given back, or does not end, would still not be after the whole time."""
    monkeypatch.setattr("localmme.check.suite.memory.SETTLE_SECONDS", 0.5)
    monkeypatch.setattr(Harness.stop, "__defaults__", (1.0,))


def settings(switch: str, model: Path, megabytes: int = 100, stop_seconds: float = 4) -> list[str]:
    """The options of a check: the switch, the memory for models, a model of 10 MB and a request for it."""
    environment = {"BROKEN": switch, "MODEL_MEMORY_MEGABYTES": str(megabytes), "MALLOC_MMAP_THRESHOLD_": "131072"}
    variables = [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
    # How long a process may take that never ends makes no difference, other than to how long the tests take.
    stop_seconds = 1 if switch == "sigterm" else stop_seconds
    stop = ("--limit", f"stop_seconds={stop_seconds}")
    return [*variables, "--model", str(model), "--data", '{"features": [[1, 2]]}', *stop]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes enough memory to be measured."""
    settings = {"weights": [2, 3], "bias": 1, "megabytes": 10}
    return archive(tmp_path_factory.mktemp("models") / "model.tar.gz", {"model.json": json.dumps(settings)})


def report(switch: str, model: Path) -> Report:
    """What is found of a container with this switch, as a process."""
    command = ["--command", f"{sys.executable} -IS {CONTAINER}"]  # it starts sooner, and needs nothing but Python
    left_out = [name for group in SLOW if switch not in group for name in group if switch not in IN_FULL]
    return checked(*command, *settings(switch, model), only=all_but(*left_out))


def test_a_container_without_a_fault_passes(model: Path) -> None:
    found = report("", model)
    assert found.odd() == dict.fromkeys(OF_IMAGES, "skipped"), str(found)
    assert found.exit_code == 0


@pytest.mark.parametrize("switches", [*TOGETHER, *ALONE], ids=" ".join)
def test_a_fault_fails_its_check_and_no_other(model: Path, switches: tuple[str, ...]) -> None:
    found = report(",".join(switches), model)
    skipped = [*OF_IMAGES, *(name for name in CANNOT_BE_TOLD.get(switches[0], ()) if name in found.checks)]
    odd = found.odd()
    if odd.get("long-use") == "warn":  # on a busy machine, a check passed a time limit and was made again
        del odd["long-use"]
    assert odd == {**dict.fromkeys(skipped, "skipped"), **dict.fromkeys(switches, "fail")}, str(found)
    assert found.exit_code == 1
    assert all(found.checks[switch]["detail"] and found.checks[switch]["fix"] for switch in switches)


@pytest.mark.docker
class TestImages:
    """The faults that only an image has, and those that are another thing in one."""

    SOME = ("labels", "entry-point", "starts", "bind-to-port", "load", "invoke", "broken-json", "sigterm")

    def image(
        self, images: Images, labels: str = MULTI_MODEL_LABEL + BIND_TO_PORT_LABEL, entry: str = ENTRY_POINT
    ) -> str:
        return images.build("broken", f"{FROM}{labels}{DOCKERFILE}{entry}", FILES)

    def report(self, tag: str, switch: str, model: Path, *more: str, megabytes: int = 100, **limits: float) -> Report:
        image = ("--image", tag, "--memory", "256m", "--timeout", "10")
        return checked(*image, *settings(switch, model, megabytes, **limits), only=(*self.SOME, *more))

    def test_an_image_without_a_fault_passes(self, images: Images, model: Path) -> None:
        report = checked("--image", self.image(images), "--memory", "256m", *settings("", model))
        assert (report.odd(), report.exit_code) == ({}, 0), str(report)
        assert tuple(report.checks) == NAMES

    def test_an_image_without_the_label_cannot_be_deployed(self, images: Images, model: Path) -> None:
        report = self.report(self.image(images, BIND_TO_PORT_LABEL), "", model)
        assert (report.odd(), report.exit_code) == ({"labels": "fail"}, 1), str(report)

    def test_without_the_label_of_pipelines_it_can_be_deployed_alone(self, images: Images, model: Path) -> None:
        report = self.report(self.image(images, MULTI_MODEL_LABEL), "", model)
        assert (report.odd(), report.exit_code) == ({"labels": "warn"}, 0), str(report)

    def test_tini_as_entry_point_fails(self, images: Images, model: Path) -> None:
        report = self.report(self.image(images, entry=TINI), "", model)
        assert (report.odd(), report.exit_code) == ({"entry-point": "fail"}, 1), str(report)

    def test_an_entry_point_in_shell_form_fails_and_so_does_its_end(self, images: Images, model: Path) -> None:
        report = self.report(self.image(images, entry=SHELL_FORM.format("")), "", model, stop_seconds=1)
        assert (report.odd(), report.exit_code) == ({"entry-point": "fail", "sigterm": "fail"}, 1), str(report)

    def test_a_shell_that_becomes_the_program_is_warned_of(self, images: Images, model: Path) -> None:
        report = self.report(self.image(images, entry=SHELL_FORM.format("exec ")), "", model)
        assert (report.odd(), report.exit_code) == ({"entry-point": "warn"}, 0), str(report)

    @pytest.mark.parametrize("switch", ["bind-to-port", "sigterm", "broken-json"])
    def test_a_fault_in_an_image_fails_its_check_and_no_other(self, images: Images, model: Path, switch: str) -> None:
        report = self.report(self.image(images), switch, model)
        assert (report.odd(), report.exit_code) == ({switch: "fail"}, 1), str(report)

    def test_a_container_that_runs_out_of_memory_and_does_not_say_507_is_killed(
        self, images: Images, model: Path
    ) -> None:
        report = self.report(self.image(images), "", model, "memory-full", "reload-after-507", megabytes=10_000)
        assert report.odd() == {"memory-full": "fail", "reload-after-507": "skipped"}, str(report)
        assert "out of memory" in report.checks["memory-full"]["detail"]
