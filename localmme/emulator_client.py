"""Talks to a running emulator, for the commands that need one."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlencode

from emulator.containers.errors import error_message
from emulator.errors import SetupError
from emulator.printable import printable
from emulator.state import EmulatorState, EndpointState, ModelState
from localmme import pages, state_directories
from localmme.pages import page

if TYPE_CHECKING:
    from localmme.tables import Shown

ANSWER_SECONDS = 5.0  # for the emulator to answer


def invoke(url: str, endpoint_name: str, target_model: str, body: bytes, **request: str) -> bytes:
    """The response's body. Raises SetupError with the AWS error's code and message."""
    from botocore.exceptions import BotoCoreError, ClientError

    from localmme import boto3_session

    client = boto3_session.client("sagemaker-runtime", url, health(url)["region"], **users_keys())
    with waiting(f"Invoking {target_model}"):
        try:
            answer = client.invoke_endpoint(EndpointName=endpoint_name, TargetModel=target_model, Body=body, **request)
            answered: bytes = answer["Body"].read()
            return answered
        except ClientError as error:
            raise SetupError(f"{error_text(error)}{_did_you_mean(url, endpoint_name, target_model, error)}") from None
        except BotoCoreError:
            raise _not_running(url) from None


def users_keys() -> dict[str, str | None]:
    """The arguments for a boto3 client by which it signs with the user's own keys; empty if there are none.

    Says on stderr why there are none if the user's settings cannot be used.
    """
    from localmme.aws_environment import users_credentials

    keys, problem = users_credentials()
    if problem:
        print(f"Warning: {printable(problem)} The call is made without it.", file=sys.stderr)
    if keys is None:
        return {}
    frozen = keys.get_frozen_credentials()
    return {
        "aws_access_key_id": frozen.access_key,
        "aws_secret_access_key": frozen.secret_key,
        "aws_session_token": frozen.token,
    }


def error_text(error: Any) -> str:
    """An error of SageMaker Runtime, in words for a person; for a container's error, the container's message first.

    ``error`` is botocore's ClientError.
    """
    answer = error.response
    code, message = answer["Error"]["Code"], answer["Error"]["Message"]
    said = error_message(answer.get("OriginalMessage", ""))
    if code != "ModelError" or not said:
        return f"{code}: {message}"
    return f"{said} (ModelError: status {answer.get('OriginalStatusCode')} from the container; its log has more)"


def _did_you_mean(url: str, endpoint_name: str, target_model: str, error: Any) -> str:
    """Advice for an unknown TargetModel: similar names; may be empty."""
    if not error.response["Error"]["Message"].startswith("Failed to download model data"):
        return ""
    with contextlib.suppress(SetupError):
        models = endpoint_state(url, endpoint_name)["models"]
        return similar_models(target_model, [model["target_model"] for model in models if model["in_s3"]])
    return ""


def similar_models(target_model: str, names: Iterable[str]) -> str:
    """Advice for an unknown TargetModel, a sentence with a space before it; empty if none of the names is similar."""
    from emulator.suggestions import did_you_mean

    names = list(names)
    advice = did_you_mean(target_model, names)
    advice = advice or did_you_mean(f"{target_model}.tar.gz", names)  # it lacks its ending
    return f" {advice[0].upper()}{advice[1:]}" if advice else ""


def health(url: str) -> dict[str, Any]:
    """The emulator's health page: whether it is in service, and its region. Raises SetupError when none answers."""
    try:
        found = page(url.rstrip("/"), "health", ANSWER_SECONDS)
    except OSError:
        raise _not_running(url) from None
    if not isinstance(found, dict) or "region" not in found:
        raise SetupError(f"What answers at {url} is not an emulator. Name another address with --url.")
    return found


def state(url: str) -> EmulatorState:
    """The emulator's state: endpoints, instances and models. Raises SetupError when no emulator answers."""
    try:
        with waiting("Asking the emulator"):
            found = page(url.rstrip("/"), "state")
    except OSError:
        raise _not_running(url) from None
    if not isinstance(found, dict) or "endpoints" not in found:
        raise _not_running(url)
    return cast(EmulatorState, found)


def act(url: str, action: str, members: Mapping[str, Any]) -> dict[str, Any]:
    """Do what a button of the emulator's page does; see ``pages.act``. Raises SetupError when no emulator answers."""
    try:
        return pages.act(url.rstrip("/"), action, members)
    except OSError:
        raise _not_running(url) from None


class Kept(NamedTuple):
    """What an emulator's story has kept of its latest entries."""

    run: str  # of the emulator, whose numbers the sequences are
    sequence: int  # of the latest entry
    entries: list[Any]


def kept_entries(url: str, **query: str) -> Kept:
    """The kept entries, in order; ``query`` limits them: ``since``, ``type``, ``target_model``, ``limit``.

    Raises SetupError when no emulator answers.
    """
    try:
        found = page(url.rstrip("/"), f"entries?{urlencode(query)}")
        return Kept(found["run"], found["sequence"], found["entries"])
    except (OSError, KeyError, TypeError):
        raise _not_running(url) from None


def endpoint_state(url: str, endpoint_name: str) -> EndpointState:
    """The state of one endpoint. Raises SetupError when no emulator answers, or the endpoint does not exist."""
    endpoints = state(url)["endpoints"]
    for endpoint in endpoints:
        if endpoint["endpoint_name"] == endpoint_name:
            return endpoint
    names = ", ".join(endpoint["endpoint_name"] for endpoint in endpoints) or "none"
    raise SetupError(f"The emulator at {url} has no endpoint {endpoint_name}. It has: {names}.")


def print_state(state: EmulatorState) -> None:
    """Tables for people; plain text in a pipe."""
    from localmme import tables

    print_shown(tables.state(lambda: state))


def print_shown(view: Shown) -> None:
    """Tables for people, as wide as the terminal; plain text in a pipe."""
    from localmme import tables

    console = tables.console()
    console.print(printable(view.line), markup=False, highlight=False)
    for table in view.tables:
        console.print(tables.rich_table(tables.fitting(table, console.width)[0]))
        if table.note:
            console.print(table.note)


def print_models(models: list[ModelState]) -> None:
    """A table for people; plain text in a pipe."""
    from localmme import tables

    console = tables.console()
    if models:
        table, left_out = tables.fitting(tables.models(models), console.width)
        console.print(tables.rich_table(table))
        if left_out:
            console.print(f"In a wider terminal, and with --json: {', '.join(left_out)}.")
        if warning := tables.no_archives(models):
            console.print(printable(warning), markup=False, highlight=False)
    else:
        console.print("There are no model archives yet.")


@contextlib.contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show, in a terminal only, what is waited for."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(printable(text))):
        yield


def _not_running(url: str) -> SetupError:
    text = f"No emulator answers at {url}. Start one with localmme serve, or name another with --url."
    names = [record.name for record in state_directories.all_living() if record.url != url]
    return SetupError(f"{text} Running: {', '.join(names)}; say which, with --name." if names else text)
