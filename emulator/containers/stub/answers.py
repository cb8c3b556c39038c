"""The answers of a stub: which request each is for, and what it is, with parts of the request in it.

Both read the request as a document with the members of REQUEST_MEMBERS, by expressions of JMESPath, which compute
nothing and call nothing of this machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jmespath
import regex
from jmespath.exceptions import JMESPathError

from emulator.invocation import Invocation

REQUEST_MEMBERS = ("EndpointName", "TargetModel", "ContentType", "Accept", "CustomAttributes", "Body")
PLACEHOLDER = regex.compile(r"\$\$|\$\{([^{}]*)\}")
MATCH_SECONDS = 1.0  # [ours] for a regular expression, which may take longer than a lifetime


class NotRendered(Exception):
    """An answer names a part of the request that the request does not have."""


@dataclass(frozen=True)
class Json:
    """A value that is sent as JSON. A text that is one placeholder as a whole becomes the value that it names."""

    value: Any


Chunk = bytes | str | Json | Path  # a Path is a file, which is read with each answer


@dataclass(frozen=True)
class StubAnswer:
    """One answer, and what a request needs to get it."""

    line: int  # in its file
    chunks: Sequence[Chunk]  # of which its body is made
    content_type: str
    target_model: str = "*"  # a pattern, as of file names
    members: Mapping[str, Any] = field(default_factory=dict)  # of the request's body: values, by their expressions
    matches: str | None = None  # a regular expression for the request's body
    status: int = 200
    custom_attributes: str | None = None
    delay_seconds: float = 0.0
    chunk_delay_seconds: float = 0.0

    def mismatch(self, request: Mapping[str, Any]) -> str:
        """Why it is not for this request, in words; empty if it is."""
        if not fnmatchcase(request["TargetModel"], self.target_model):
            return f"TargetModel is not {self.target_model}"
        for expression, wanted in self.members.items():
            found = _search(expression, request["Body"])
            if found != wanted or isinstance(found, bool) != isinstance(wanted, bool):
                return f"{expression} is {_short(found)}, not {_short(wanted)}"
        if self.matches is not None:
            text = request["Text"]
            try:
                if not regex.search(self.matches, text, timeout=MATCH_SECONDS):
                    return f"the body does not match {self.matches}"
            except TimeoutError:
                return f"to match {self.matches} takes longer than {MATCH_SECONDS:g} s"
        return ""


def request_document(invocation: Invocation, body: bytes) -> dict[str, Any]:
    """The request as answers see it. Its body is parsed if it is JSON, else it is a text."""
    text = body.decode("utf-8", "replace")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = text
    headers = {
        "ContentType": invocation.content_type,
        "Accept": invocation.accept,
        "CustomAttributes": invocation.custom_attributes,
    }
    return {
        "EndpointName": invocation.endpoint_name,
        "TargetModel": invocation.target_model,
        "Body": parsed,
        "Text": text,
        **{name: None if value is None else value.decode("latin-1") for name, value in headers.items()},
    }


def rendered(chunk: str | Json, request: Mapping[str, Any]) -> bytes:
    """A part of an answer's body, with parts of the request in it. Raises NotRendered."""
    if isinstance(chunk, Json):
        return json.dumps(_json(chunk.value, request)).encode()
    return text_with(chunk, request).encode()


def text_with(text: str, request: Mapping[str, Any]) -> str:
    """A text in which ``${EXPRESSION}`` stands for a part of the request, and ``$$`` for ``$``. Raises NotRendered."""

    def part(match: Any) -> str:
        if match[1] is None:
            return "$"
        value = _search(match[1], request)
        if value is None:
            raise NotRendered(f"The request has no {match[1]}, which the answer names.")
        return value if isinstance(value, str) else json.dumps(value)

    return str(PLACEHOLDER.sub(part, text))


def expression_problem(expression: str) -> str:
    """What is wrong with an expression of JMESPath, in one line; empty if it is valid."""
    try:
        jmespath.compile(expression)
    except JMESPathError as error:
        return str(error).partition("\n")[0] or "it is empty"
    return ""


def _json(value: Any, request: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _json(each, request) for name, each in value.items()}
    if isinstance(value, list):
        return [_json(each, request) for each in value]
    if not isinstance(value, str):
        return value
    whole = PLACEHOLDER.fullmatch(value)
    return _search(whole[1], request) if whole and whole[1] else text_with(value, request)


def _search(expression: str, document: Any) -> Any:
    try:
        return jmespath.search(expression, document)
    except JMESPathError:  # such as a function that does not take what is there
        return None


def _short(value: Any) -> str:
    return f"{json.dumps(value):.60}"
