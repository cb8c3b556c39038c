"""The AWS CLI, against an emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.aws_clients import REGION
from tests.support.emulator_process import RunningEmulator


def aws(emulator: RunningEmulator, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the AWS CLI."""
    settings = {
        "AWS_ACCESS_KEY_ID": "placeholder",
        "AWS_SECRET_ACCESS_KEY": "placeholder",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_PAGER": "",
    }
    return subprocess.run(
        [str(Path(sys.executable).with_name("aws")), "--endpoint-url", emulator.url, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **settings, **environment},
    )


def aws_json(emulator: RunningEmulator, *arguments: str) -> Any:
    """What the AWS CLI prints."""
    done = aws(emulator, *arguments, "--output", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
