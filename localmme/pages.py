"""The emulator's own pages, under /_localmme/, as commands of this machine read them and act through them."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from typing import Any

from emulator.console.permissions import required_action
from emulator.errors import SetupError
from emulator.printable import printable
from emulator.state_directory import StateDirectory
from localmme import state_directories

PATH = "/_localmme/"
FORBIDDEN, NOT_IN_SERVICE = 403, 503  # the latter from its health page
UNSIGNED = "MissingAuthenticationTokenException"
TOKEN = "X-Localmme-Token"
TOKEN_IN_PAGE = re.compile(r'<meta name="localmme-token" content="([\w-]+)">', re.ASCII)
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class PageRefused(SetupError):
    """The emulator's access file does not allow the user to see one of its pages."""


def page(url: str, name: str, timeout_seconds: float = 60.0) -> Any:
    """One of the emulator's own pages, parsed. Raises OSError when there is no such page, and PageRefused.

    If the emulator requires it, the request is signed with the user's AWS credentials.
    """
    return _parsed(opened(url, name, timeout_seconds))


def act(
    url: str,
    action: str,
    members: Mapping[str, Any],
    timeout_seconds: float = 60.0,
    directory: StateDirectory | None = None,
) -> dict[str, Any]:
    """Do what a button of the emulator's page does; the answer has a ``message``, a sentence that says what was done.

    ``directory`` is that of an emulator on this machine that has no name. Raises SetupError when it refuses that,
    PageRefused, and OSError when none answers.
    """
    headers = {TOKEN: _token(url, directory, timeout_seconds), "Content-Type": "application/json"}
    try:
        answer = opened(url, f"actions/{action}", timeout_seconds, json.dumps(members).encode(), headers)
    except urllib.error.HTTPError as error:
        with error, contextlib.suppress(HTTPException, ValueError, KeyError, TypeError):
            raise SetupError(printable(json.load(error)["message"])) from None
        raise
    found: dict[str, Any] = _parsed(answer)
    return found


def _token(url: str, directory: StateDirectory | None, timeout_seconds: float) -> str:
    """The token of the emulator's run: from its private file, or, where that is on another machine, from its page."""
    if directory is None and (record := state_directories.living_at(url)) is not None:
        directory = record.directory
    if directory is not None:
        with contextlib.suppress(OSError):
            return directory.console_token.read_text("ascii")
    with opened(url, "", timeout_seconds) as answer:
        found = TOKEN_IN_PAGE.search(answer.read().decode("utf-8", "replace"))
    if found is None:
        raise SetupError(f"What answers at {url} is no emulator that takes actions.")
    return found[1]


def page_login(url: str) -> str:
    """The path, with a query, by which a browser is logged in as the user whose AWS credentials sign this request.

    Raises PageRefused, and HTTPError, an OSError, with status 400 where nobody has to log in.
    """
    return str(_parsed(opened(url, "login", 60.0, b""))["path"])


def opened(
    url: str, name: str, timeout_seconds: float, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> HTTPResponse:
    """The response with a page, or with the answer to ``body``. Raises OSError when there is none, and PageRefused."""
    request = urllib.request.Request(f"{url}{PATH}{name}", body, dict(headers or {}))
    try:
        answer: HTTPResponse = _sent(request, timeout_seconds)
        if answer.status == FORBIDDEN:
            with answer:
                if answer.headers.get("x-amzn-errortype") != UNSIGNED:
                    raise OSError(_reason(answer))
            _sign(request)
            answer = _sent(request, timeout_seconds)
        if answer.status == FORBIDDEN:
            with answer:
                action = required_action(request.get_method(), name.partition("?")[0])
                raise PageRefused(_refusal(url, _reason(answer), action))
    except HTTPException as error:
        raise OSError(f"no HTTP: {error}") from None
    return answer


def _sent(request: urllib.request.Request, timeout_seconds: float) -> Any:
    """The response, if its status is 200, 403 (refused) or 503 (not yet in service). Otherwise raises OSError."""
    try:
        return _DIRECT.open(request, timeout=timeout_seconds)
    except urllib.error.HTTPError as error:
        if error.code not in (NOT_IN_SERVICE, FORBIDDEN):
            raise
        return error


def _sign(request: urllib.request.Request) -> None:
    """Add the headers that sign it, if the user has credentials."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    from localmme.aws_environment import DEFAULT_REGION, users_credentials

    keys, _ = users_credentials()
    signed = AWSRequest(request.get_method(), request.full_url, data=request.data)
    if keys is not None:
        SigV4Auth(keys, "localmme", DEFAULT_REGION).add_auth(signed)
    for name, value in signed.headers.items():
        request.add_header(name, value)


def _parsed(answer: Any) -> Any:
    with answer:
        try:
            return json.load(answer)
        except (HTTPException, ValueError) as error:
            raise OSError(f"no JSON: {error}") from None


def _reason(answer: Any) -> str:
    try:
        refusal = json.load(answer)
        return printable(str(refusal.get("Message") or refusal["message"])).rstrip(".")
    except (HTTPException, ValueError, KeyError, TypeError, AttributeError):
        return "it does not say why"


def _refusal(url: str, reason: str, action: str) -> str:
    return (
        f"The emulator at {url} does not show that: {reason}. Its access file says who may see it: set "
        f"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to the keys of a user with the action {action}."
    )
