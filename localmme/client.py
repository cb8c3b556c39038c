"""Talks to a running emulator, for the commands that need one."""

from __future__ import annotations

import contextlib
import json
import mimetypes
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emulator.errors import SetupError
from emulator.printable import printable
from localmme.environment import missing_settings


def read_data(data: str) -> bytes:
    """The bytes that ``--data`` stands for: ``@FILE``, ``-`` for standard input, or the text itself."""
    if data == "-":
        return sys.stdin.buffer.read()
    if not data.startswith("@"):
        return data.encode()
    try:
        return Path(data[1:]).expanduser().read_bytes()
    except OSError as error:
        raise SetupError(f"The data file {data[1:]} cannot be read: {error.strerror}.") from None


def guess_content_type(data: str, body: bytes) -> str:
    """By the file's name; else JSON if the body is JSON; else just bytes."""
    by_name = mimetypes.guess_type(data)[0] if data.startswith("@") else None
    if by_name:
        return by_name
    try:
        json.loads(body)
    except ValueError:
        return "application/octet-stream"
    return "application/json"


def invoke(url: str, endpoint_name: str, target_model: str, body: bytes, **request: str) -> bytes:
    """The answer's body. Raises SetupError with the AWS error's code and message."""
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import Session

    session = Session()
    for name, value in missing_settings(session).items():
        os.environ[name] = value
    config = Config(retries={"total_max_attempts": 1}, read_timeout=600)
    client = session.create_client("sagemaker-runtime", endpoint_url=url, config=config)
    with waiting(f"Invoking {target_model}"):
        try:
            answer = client.invoke_endpoint(EndpointName=endpoint_name, TargetModel=target_model, Body=body, **request)
            return answer["Body"].read()
        except ClientError as error:
            raise SetupError(f"{error.response['Error']['Code']}: {error.response['Error']['Message']}") from None
        except BotoCoreError:
            raise _not_running(url) from None


def endpoint_state(url: str, endpoint_name: str) -> dict[str, Any]:
    """The state of one endpoint. Raises SetupError when there is no such emulator or endpoint."""
    try:
        with waiting("Asking the emulator"), urllib.request.urlopen(f"{url.rstrip('/')}/_localmme/state") as answer:
            endpoints = json.load(answer)["endpoints"]
    except (OSError, ValueError, KeyError):
        raise _not_running(url) from None
    for endpoint in endpoints:
        if endpoint["endpoint_name"] == endpoint_name:
            return endpoint
    names = ", ".join(endpoint["endpoint_name"] for endpoint in endpoints) or "none"
    raise SetupError(f"The emulator at {url} has no endpoint {endpoint_name}. It has: {names}.")


def print_models(models: list[dict[str, Any]]) -> None:
    """A table for people; plain text in a pipe."""
    from rich.console import Console

    from localmme.display import models as table_of
    from localmme.display import rich_table

    # In a pipe there is no screen to fit into: a cut name would be of no use to grep.
    console = Console(width=None if sys.stdout.isatty() else 500)
    if models:
        console.print(rich_table(table_of(models)))
    else:
        console.print("There are no model archives yet.")


@contextlib.contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show that something is being waited for, in a terminal only."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(printable(text))):
        yield


def _not_running(url: str) -> SetupError:
    return SetupError(f"No emulator answers at {url}. Start one with localmme serve, or name another with --url.")
