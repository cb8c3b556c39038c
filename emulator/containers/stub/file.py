"""The file of a stub: YAML or JSON with the endpoints that it stands for, and their answers.

    Endpoints:
      - EndpointName: prices
        Answers:
          - {TargetModel: europe/*, BodyMembers: {rooms: 3}, Json: {price: 210000}}
    Answers: []

The answers at the top level are those of all endpoints, after their own. Without Endpoints, there is ``local``. All
problems are reported at once, each with its line.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import regex

from emulator.aws.service_models import Place, value_summary
from emulator.containers.stub.answers import PLACEHOLDER, REQUEST_MEMBERS, Chunk, Json, StubAnswer, expression_problem
from emulator.errors import SetupError
from emulator.suggestions import did_you_mean
from emulator.yaml_source import YamlSource, as_error, read_source

ENDPOINT_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")  # [api]
DEFAULT_ENDPOINT = "local"
MODES = ("MultiModel", "SingleModel")
MOST_SECONDS = 3600.0  # [ours] of a delay
BODIES = ("Json", "Text", "Base64", "File", "Chunks")  # one of them is an answer's body
CONTENT_TYPES = {"Json": "application/json", "Text": "text/plain; charset=utf-8"}  # unless the answer has its own


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= MOST_SECONDS


def _is_status(value: Any) -> bool:
    return isinstance(value, int) and (200 <= value <= 299 or 400 <= value <= 599)


def _is_header(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


# What each key of an answer takes, in words and as a check.
KEYS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "TargetModel": ("a string", lambda value: isinstance(value, str)),
    "BodyMembers": ("a mapping of expressions to values", lambda value: isinstance(value, dict)),
    "BodyMatches": ("a regular expression, as a string", lambda value: isinstance(value, str)),
    "Json": ("a value", lambda _: True),
    "Text": ("a string", lambda value: isinstance(value, str)),
    "Base64": ("a string", lambda value: isinstance(value, str)),
    "File": ("a path", lambda value: isinstance(value, str)),
    "Chunks": ("a list", lambda value: isinstance(value, list)),
    "ContentType": ("a string of printable ASCII", _is_header),
    "CustomAttributes": ("a string of printable ASCII", _is_header),
    "Status": ("a status from 200 to 299, or from 400 to 599", _is_status),
    "DelaySeconds": (f"seconds up to {MOST_SECONDS:g}", _is_seconds),
    "ChunkDelaySeconds": (f"seconds up to {MOST_SECONDS:g}", _is_seconds),
}


@dataclass(frozen=True)
class StubFile:
    """What is in a file."""

    endpoints: Mapping[str, str]  # their modes, by their names
    answers: Mapping[str, Sequence[StubAnswer]]  # by the endpoint's name; those of all are under the empty name

    def answers_of(self, endpoint_name: str) -> list[StubAnswer]:
        """Those of an endpoint, in the order in which they are tried."""
        return [*self.answers.get(endpoint_name, ()), *self.answers[""]]


def read(path: Path) -> StubFile:
    """Raises SetupError: ``FILE:LINE: KEY: MESSAGE`` for each problem."""
    source = read_source(path, "A stub's file has answers, such as stub.yaml.")
    return _Reader(path, source).file()


class _Reader:
    """Reads one file: collects all problems, and raises them together at the end."""

    def __init__(self, path: Path, source: YamlSource) -> None:
        self._path, self._source = path, source
        self._problems: list[tuple[Place, str]] = []

    def file(self) -> StubFile:
        document = self._source.value
        if not isinstance(document, dict):
            self._report((), f"must be a mapping with the key Answers or Endpoints, not {value_summary(document)}")
            document = {}
        self._check_keys((), document, ("Endpoints", "Answers"))
        endpoints: dict[str, str] = {}
        answers = {"": self._answers(("Answers",), document.get("Answers", []))}
        listed = document.get("Endpoints")
        for position, endpoint in enumerate(self._list(("Endpoints",), [] if listed is None else listed)):
            self._endpoint(("Endpoints", position), endpoint, endpoints, answers)
        if not any(answers.values()) and not self._problems:
            self._report(("Answers",), "must have an answer, such as {TargetModel: '*', Json: {price: 1}}")
        if self._problems or self._source.problems:
            found = [(self._source.line(place), place, message) for place, message in self._problems]
            raise as_error(self._path, [*self._source.problems, *found])
        return StubFile(endpoints or {DEFAULT_ENDPOINT: MODES[0]}, answers)

    def _endpoint(
        self, place: Place, endpoint: Any, endpoints: dict[str, str], answers: dict[str, list[StubAnswer]]
    ) -> None:
        if not isinstance(endpoint, dict):
            self._report(place, f"must be a mapping with EndpointName and Answers, not {value_summary(endpoint)}")
            return
        self._check_keys(place, endpoint, ("EndpointName", "Mode", "Answers"))
        name, mode = endpoint.get("EndpointName"), endpoint.get("Mode", MODES[0])
        if not isinstance(name, str) or not ENDPOINT_NAME.fullmatch(name):
            words = "up to 63 letters, digits and, between them, hyphens"
            self._report((*place, "EndpointName"), f"must have {words}, not {value_summary(name)}")
            return
        if name.lower() in map(str.lower, endpoints):  # in ARNs they are in lower case [api]
            self._report((*place, "EndpointName"), "is there twice")
        if mode not in MODES:
            self._report((*place, "Mode"), f"must be {' or '.join(MODES)}, not {value_summary(mode)}")
        endpoints[name] = mode
        answers[name] = self._answers((*place, "Answers"), endpoint.get("Answers", []))

    def _answers(self, place: Place, answers: Any) -> list[StubAnswer]:
        found = []
        for position, answer in enumerate(self._list(place, answers)):
            before = len(self._problems)
            read = self._answer((*place, position), answer)
            if len(self._problems) == before and read is not None:
                found.append(read)
        return found

    def _answer(self, place: Place, answer: Any) -> StubAnswer | None:
        if not isinstance(answer, dict):
            self._report(place, f"must be a mapping, such as {{Json: {{price: 1}}}}, not {value_summary(answer)}")
            return None
        self._check_keys(place, answer, KEYS)
        for key, value in answer.items():
            if key in KEYS and not KEYS[key][1](value):
                self._report((*place, key), f"must be {KEYS[key][0]}, not {value_summary(value)}")
                return None
        bodies = [key for key in BODIES if key in answer]
        if len(bodies) != 1:
            self._report(place, f"needs one of {', '.join(BODIES)}{f', and has {len(bodies)}' if bodies else ''}")
            return None
        self._check_expressions(place, answer)
        return StubAnswer(
            self._source.line(place),
            self._chunks((*place, bodies[0]), bodies[0], answer[bodies[0]]),
            answer.get("ContentType", CONTENT_TYPES.get(bodies[0], "application/octet-stream")),
            answer.get("TargetModel", "*"),
            answer.get("BodyMembers", {}),
            answer.get("BodyMatches"),
            answer.get("Status", 200),
            answer.get("CustomAttributes"),
            answer.get("DelaySeconds", 0.0),
            answer.get("ChunkDelaySeconds", 0.0),
        )

    def _chunks(self, place: Place, kind: str, value: Any) -> list[Chunk]:
        if kind == "Chunks":
            return [each if isinstance(each, str) else Json(each) for each in value]
        if kind == "Base64":
            try:
                return [base64.b64decode(value, validate=True)]
            except ValueError as error:
                self._report(place, f"is not base64: {error}")
        if kind == "File":
            file = self._path.absolute().parent / Path(value).expanduser()
            if not file.is_file():
                self._report(place, f"there is no file {file}")
            return [file]
        if kind == "Json" and not _is_json(value):
            self._report(place, "has a value that JSON does not have: put it in quotes")
        return [Json(value) if kind == "Json" else value]

    def _check_expressions(self, place: Place, answer: Mapping[str, Any]) -> None:
        for expression in answer.get("BodyMembers", {}):
            if problem := expression_problem(expression):
                self._report((*place, "BodyMembers", expression), f"is not an expression of JMESPath: {problem}")
        if "BodyMatches" in answer:
            try:
                regex.compile(answer["BodyMatches"])
            except regex.error as error:
                self._report((*place, "BodyMatches"), f"is not a regular expression: {error}")
        for key in ("Json", "Text", "Chunks", "CustomAttributes"):
            for text in _texts(answer.get(key)):
                for match in PLACEHOLDER.finditer(text):
                    if match[1] is not None:
                        self._check_placeholder((*place, key), match[1])

    def _check_placeholder(self, place: Place, expression: str) -> None:
        member = re.split(r"[^A-Za-z]", expression, maxsplit=1)[0]
        if problem := expression_problem(expression):
            self._report(place, f"${{{expression}}} is not an expression of JMESPath: {problem}")
        elif member and not expression.startswith(f"{member}(") and member not in REQUEST_MEMBERS:
            self._report(place, f"${{{expression}}}: the request has {', '.join(REQUEST_MEMBERS)}, not {member}")

    def _check_keys(self, place: Place, mapping: Mapping[str, Any], known: Sequence[str] | Mapping[str, Any]) -> None:
        for key in mapping:
            if key not in known:
                advice = did_you_mean(key, known) or f"there are {', '.join(known)}"
                self._report((*place, key), f"is not a key of this file: {advice}")

    def _list(self, place: Place, value: Any) -> list[Any]:
        if isinstance(value, list):
            return value
        self._report(place, f"must be a list, not {value_summary(value)}")
        return []

    def _report(self, place: Place, message: str) -> None:
        self._problems.append((place, message))


def _texts(value: Any) -> list[str]:
    """All strings in a value."""
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in _texts(item)]


def _is_json(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, (dict, list)):
        return all(map(_is_json, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, (str, int))


__all__ = ["SetupError", "StubFile", "read"]
