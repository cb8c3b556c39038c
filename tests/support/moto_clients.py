"""Clients of the AWS services beside an emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.support.emulator_process import Emulator

ACCOUNT, REGION = "123456789012", "us-east-1"


def client(emulator: Emulator, service: str, key: str = "placeholder", region: str = REGION) -> Any:
    """boto3's client of a service, which tries once."""
    return boto3.client(
        service,
        endpoint_url=emulator.url,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key="placeholder",
        config=Config(retries={"total_max_attempts": 1}),
    )


def aws(emulator: Emulator, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The AWS CLI."""
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


def aws_json(emulator: Emulator, *arguments: str) -> Any:
    """What the AWS CLI prints."""
    done = aws(emulator, *arguments, "--output", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
