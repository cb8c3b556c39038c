"""A training container finds the same files here as in the SageMaker SDK's local mode."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.real_clients import sdks
from tests.support.real_servers.images import FROM, Images
from tests.support.real_servers.making import NotProvisioned
from tests.support.repository import REPOSITORY
from tests.support.training_jobs import Jobs

pytestmark = [pytest.mark.real, pytest.mark.docker]

IMAGE = f"{FROM}\nCOPY train /usr/local/bin/train\n"
TELLS = """#!/usr/bin/env python3
import json, os, pathlib, sys
ml = pathlib.Path("/opt/ml")
files = {str(path.relative_to(ml)): path.read_text() for path in ml.rglob("*") if path.is_file()}
directories = sorted(str(path.relative_to(ml)) for path in ml.rglob("*") if path.is_dir())
told = {"arguments": sys.argv[1:], "files": files, "directories": directories, "environment": dict(os.environ)}
(ml / "model" / "told.json").write_text(json.dumps(told))
"""


def by_the_sdk(jobs: Jobs, image: str) -> list[dict[str, Any]]:
    """What the algorithm has told: in local mode, and here."""
    compose = json.dumps([sys.executable, str(Path(sdks.__file__).with_name("compose_up.py"))])
    script = Path(sdks.__file__).with_name("inside") / "local_mode.py"
    command = f'eval "$({sys.executable} -m localmme env --url {jobs.emulator.url})"; exec "$@"'
    try:
        words = [str(sdks.sdk_2().python), str(script), image, compose, "s3://b"]
    except NotProvisioned as reason:
        pytest.skip(str(reason))
    ended = subprocess.run(
        ["bash", "-ec", command, "bash", *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=250
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    models = [url.removeprefix("s3://b/") for url in json.loads(ended.stdout.splitlines()[-1])]
    return [json.loads(jobs.archive(model)["told.json"]) for model in models]


def test_a_container_finds_what_it_finds_in_local_mode(images: Images, tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)
    try:
        local, here = by_the_sdk(jobs, images.build("train-tells", IMAGE, {"train": TELLS}))
    finally:
        jobs.emulator.stop()
    assert here["arguments"] == local["arguments"] == []  # the image has no entry point: it runs the program `train`
    assert here["files"].keys() == local["files"].keys()
    assert set(local["directories"]) <= set(here["directories"])
    assert set(here["directories"]) - set(local["directories"]) == {"checkpoints"}
    for name in ("input/config/hyperparameters.json", "input/config/inputdataconfig.json"):
        there, where = json.loads(local["files"].pop(name)), json.loads(here["files"].pop(name))
        assert {key: contained(value, where[key]) for key, value in there.items()} == there
    resources, local_resources = (
        json.loads(told["files"].pop("input/config/resourceconfig.json")) for told in (here, local)
    )
    assert local_resources.keys() <= resources.keys()
    assert here["files"] == local["files"] == {"input/data/train/a.csv": "1,2"}
    own = {"OWN", "TRAINING_JOB_NAME", "AWS_REGION"}
    assert own <= here["environment"].keys() and own <= local["environment"].keys()


def contained(expected: Any, found: Any) -> Any:
    """Of a mapping, what it has of the expected one's keys."""
    return {key: found[key] for key in expected} if isinstance(expected, dict) else found
