"""boto3 clients for the emulator that ignore all of the user's own AWS settings."""

from __future__ import annotations

import os
from typing import Any

from emulator import relied_on
from localmme.aws_environment import PLACEHOLDERS

READ_TIMEOUT_SECONDS = 600  # longer than the emulator waits for a model to load: it reports time-outs itself


def client(service_name: str, url: str, region: str, **arguments: Any) -> Any:
    """A client for this address; ``arguments`` of ``boto3.client`` override its own."""
    import boto3
    from botocore.config import Config
    from botocore.session import Session

    relied_on.check(__name__)
    # botocore's settings, without their names in the environment and in files.
    own = {name: (None, None, default, cast) for name, (_, _, default, cast) in Session.SESSION_VARIABLES.items()}
    for file in ("config_file", "credentials_file"):
        own[file] = (None, None, os.devnull, None)
    session = boto3.Session(botocore_session=Session(session_vars=own))
    config = Config(
        retries={"total_max_attempts": 1},
        read_timeout=READ_TIMEOUT_SECONDS,
        proxies={},  # not even those of the environment
    )
    settings = {
        "endpoint_url": url,
        "region_name": region,
        "aws_access_key_id": PLACEHOLDERS["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": PLACEHOLDERS["AWS_SECRET_ACCESS_KEY"],
        **arguments,
        "config": config.merge(arguments["config"]) if arguments.get("config") else config,
    }
    return session.client(service_name, **settings)
