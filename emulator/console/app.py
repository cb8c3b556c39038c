"""The emulator's own pages, under ``/_localmme/``: the page in a browser, what it reads, and what it may do."""

from __future__ import annotations

import hmac
import html
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from emulator.aws.asgi import Application, BodyBrokenOff, BodyTooLong, Headers, Receive, Send, read_body, send_answer
from emulator.aws.request import LOGIN, PAGES, AwsRequest
from emulator.console.actions import ActionRefused, Actions
from emulator.console.event_stream import stream
from emulator.console.live_updates import LiveUpdates
from emulator.console.logins import Logins
from emulator.console.static_files import TOKEN_PLACE, page, static_files
from emulator.entries import Entry
from emulator.observers.recent_entries import RecentEntries
from emulator.what_if import WhatIf

# Scripts, styles and data from here only, nothing in the page's text, and no page of others shows it. What is no script
# or markup of the page's own never becomes one, whatever a model is named and a container writes.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
NO_PAGE_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"
TOKEN_HEADER = "x-localmme-token"  # its name
MOST_ACTION_BYTES = 1024 * 1024  # [ours] of a request's body
CALLS_BODY = re.compile(r"(\d{1,15})/body", re.ASCII)
TYPES = ("event", "call", "log")


class Refused(Exception):
    """A request that is answered with an error, whose message says what is wrong with it."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


class ConsoleApp:
    """The pages as an application of the gateway."""

    def __init__(
        self,
        token: str,
        entries: RecentEntries,
        updates: LiveUpdates,
        actions: Actions,
        what_if: Callable[[], Awaitable[WhatIf]],
        others: Callable[[], Application],
        logins: Logins,
    ) -> None:
        """``token`` is what a request for an action has to say. ``others`` makes the application for all other paths,
        when there is the first request for one."""
        self._logins = logins
        self._token = token
        self._entries = entries
        self._updates = updates
        self._actions = actions
        self._what_if = what_if
        self._others = others
        # By the method, and the first part of the path below PAGES, after whose slash there may be more.
        self._routes = {
            ("GET", ""): self._send_page,
            ("GET", "static/"): self._send_static_file,
            ("GET", "entries"): self._send_entries,
            ("GET", "events"): self._send_events,
            ("GET", "what-if"): self._send_what_if,
            ("GET", "calls/"): self._send_body,
            ("POST", "actions/"): self._act,
            ("POST", "login"): self._send_code,
            ("GET", "login"): self._log_in,
        }

    async def __call__(self, request: AwsRequest, receive: Receive, send: Send) -> None:
        first, slash, rest = request.path.removeprefix(PAGES).partition("/")
        allowed = [method for method, part in self._routes if part == first + slash]
        if not allowed or not request.path.startswith(PAGES):
            await self._others()(request.scope, receive, send)
            return
        method = "GET" if request.method == "HEAD" else request.method
        try:
            if method not in allowed:
                raise _not_allowed(request, allowed)
            await self._routes[method, first + slash](request, rest, receive, send)
        except Refused as refused:
            await _send_json(request, send, {"message": refused.message}, refused.status, *refused.headers)

    async def _send_page(self, request: AwsRequest, _: str, __: Receive, send: Send) -> None:
        token = html.escape(self._token)
        text = page().replace(TOKEN_PLACE, TOKEN_PLACE.replace('""', f'"{token}"'))
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-security-policy", PAGE_POLICY.encode()),
            (b"cache-control", b"no-store"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"referrer-policy", b"same-origin"),
        ]
        await send_answer(send, 200, headers, text.encode(), is_head=request.method == "HEAD")

    async def _send_static_file(self, request: AwsRequest, name: str, _: Receive, send: Send) -> None:
        file = static_files().get(name)
        if file is None:
            raise Refused(404, "The page has no such file.")
        headers = [
            (b"content-type", file.media_type.encode()),
            (b"content-security-policy", NO_PAGE_POLICY.encode()),
            (b"cache-control", b"no-cache"),
        ]
        await send_answer(send, 200, headers, file.content, is_head=request.method == "HEAD")

    async def _send_entries(self, request: AwsRequest, _: str, __: Receive, send: Send) -> None:
        since, limit = _number(request, "since", 0), _number(request, "limit", None)
        sequence = self._entries.sequence
        kind = request.query.get("type", "")
        if kind not in ("", *TYPES):
            raise Refused(400, f"type is one of {', '.join(TYPES)}, not {kind!r}.")
        found: Sequence[Entry]
        if kind in ("event", "log"):  # entries of calls take longer to make
            found = [entry for entry in self._entries.events_and_lines(since or 0) if entry["type"] == kind]
        else:
            found = self._entries.calls(since or 0) if kind else self._entries.since(since or 0)
        if target_model := request.query.get("target_model"):
            found = [entry for entry in found if entry.get("target_model") == target_model]
        if limit is not None:
            found = found[-limit:] if limit else []
        await _send_json(request, send, {"run": self._entries.run, "sequence": sequence, "entries": found})

    async def _send_events(self, request: AwsRequest, _: str, receive: Receive, send: Send) -> None:
        if request.method == "HEAD":
            raise _not_allowed(request, ["GET"])
        last = request.header(b"last-event-id")
        since = self._updates.sequence_after(last) if last else _number(request, "since", None)
        await stream(self._updates.follow(since), receive, send)

    async def _send_what_if(self, request: AwsRequest, _: str, __: Receive, send: Send) -> None:
        await _send_json(request, send, await self._what_if())

    async def _send_body(self, request: AwsRequest, rest: str, _: Receive, send: Send) -> None:
        match = CALLS_BODY.fullmatch(rest)
        body = self._entries.body(int(match[1])) if match else None
        if body is None:
            raise Refused(404, "The body of that call is not kept, or there is no such call.")
        headers: Headers = [
            (b"content-type", b"application/octet-stream"),
            (b"content-security-policy", NO_PAGE_POLICY.encode()),
            (b"content-disposition", b"attachment"),
            (b"cache-control", b"no-store"),
        ]
        await send_answer(send, 200, headers, body, is_head=request.method == "HEAD")

    async def _act(self, request: AwsRequest, name: str, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, MOST_ACTION_BYTES)
        except BodyBrokenOff:
            return
        except BodyTooLong:
            raise Refused(413, f"The members of an action take {MOST_ACTION_BYTES} bytes at most.") from None
        if not hmac.compare_digest(request.header(TOKEN_HEADER.encode()).encode(), self._token.encode()):
            raise Refused(
                403,
                "An action needs the token of this run of the emulator, in the header X-Localmme-Token. If the page is "
                "older than this run, reload it.",
            )
        try:
            members = json.loads(body or b"{}")
        except ValueError as error:
            raise Refused(400, f"The members of an action are JSON: {error}.") from None
        if not isinstance(members, dict):
            raise Refused(400, "The members of an action are a JSON object.")
        try:
            answer = await self._actions.take(name, members)
        except ActionRefused as refused:
            raise Refused(refused.status, refused.message) from None
        await _send_json(request, send, answer)

    async def _send_code(self, request: AwsRequest, _: str, __: Receive, send: Send) -> None:
        if request.caller is None:
            raise Refused(400, "Nobody has to log in: this emulator was started without an access file.")
        code = self._logins.new_code(request.caller.access_key_id)
        await _send_json(request, send, {"path": f"{LOGIN}?code={code}"})

    async def _log_in(self, request: AwsRequest, _: str, __: Receive, send: Send) -> None:
        cookie = self._logins.cookie_for(request.query.get("code", "")) if request.method == "GET" else None
        if cookie is None:
            raise Refused(403, "This login has been used, or is too old. Get another with the command localmme open.")
        headers = [(b"location", PAGES.encode()), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
        await send_answer(send, 303, headers)


def _not_allowed(request: AwsRequest, allowed: list[str]) -> Refused:
    methods = ", ".join(sorted(allowed))
    return Refused(405, f"{request.path} takes {methods} only.", (b"allow", methods.encode()))


def _number(request: AwsRequest, name: str, default: int | None) -> int | None:
    """A parameter of the query that is a number from 0. Raises Refused."""
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Refused(400, f"{name} is a number, such as {name}=100, not {text[:100]!r}.")
    return int(text)


async def _send_json(
    request: AwsRequest, send: Send, document: Any, status: int = 200, *more: tuple[bytes, bytes]
) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-security-policy", NO_PAGE_POLICY.encode()),
        (b"cache-control", b"no-store"),
        *more,
    ]
    await send_answer(send, status, headers, json.dumps(document).encode(), is_head=request.method == "HEAD")
