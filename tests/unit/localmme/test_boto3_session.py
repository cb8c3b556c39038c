"""Clients for the emulator: none of the user's own AWS settings counts, and what a caller asks for goes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config

from localmme.aws_environment import PLACEHOLDERS
from localmme.boto3_session import client

URL = "http://127.0.0.1:8080"


@pytest.fixture(autouse=True)
def of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings in files and in the environment, each of which would lead somewhere else."""
    (tmp_path / "config").write_text(
        "[profile own]\nregion = ap-south-1\nendpoint_url = http://files:1\nmax_attempts = 9\n"
        "services = mine\n[services mine]\nsagemaker =\n  endpoint_url = http://files:2\n"
    )
    (tmp_path / "credentials").write_text("[own]\naws_access_key_id = OWN\naws_secret_access_key = own\n")
    for name, value in {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_PROFILE": "own",
        "AWS_REGION": "ap-south-1",
        "AWS_DEFAULT_REGION": "ap-south-1",
        "AWS_ACCESS_KEY_ID": "OWN",
        "AWS_SECRET_ACCESS_KEY": "own",
        "AWS_SESSION_TOKEN": "own",
        "AWS_ENDPOINT_URL": "http://environment:1",
        "AWS_ENDPOINT_URL_SAGEMAKER": "http://environment:2",
        "AWS_MAX_ATTEMPTS": "9",
        "AWS_CA_BUNDLE": "/nowhere",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "HTTP_PROXY": "http://proxy:1",
        "http_proxy": "http://proxy:1",
    }.items():
        monkeypatch.setenv(name, value)


def made(**arguments: Any) -> Any:
    return client("sagemaker", URL, "eu-west-1", **arguments)


def test_nothing_of_the_users_own_settings_counts() -> None:
    found = made()
    assert (found.meta.endpoint_url, found.meta.region_name) == (URL, "eu-west-1")
    credentials = found._request_signer._credentials
    assert credentials.access_key == PLACEHOLDERS["AWS_ACCESS_KEY_ID"]
    assert credentials.secret_key == PLACEHOLDERS["AWS_SECRET_ACCESS_KEY"]
    assert credentials.token is None
    config = found.meta.config
    assert (config.read_timeout, config.retries["total_max_attempts"], config.proxies) == (600, 1, {})


def test_the_arguments_of_the_caller_go_first() -> None:
    found = made(region_name="us-west-2", aws_access_key_id="mine", config=Config(connect_timeout=3, read_timeout=4))
    assert (found.meta.endpoint_url, found.meta.region_name) == (URL, "us-west-2")
    assert found._request_signer._credentials.access_key == "mine"
    config = found.meta.config
    assert (config.connect_timeout, config.read_timeout) == (3, 4)
    assert (config.retries["total_max_attempts"], config.proxies) == (1, {})  # what it does not speak of stays
