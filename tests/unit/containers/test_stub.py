"""A stub: which of its answers a request gets, what is in it, and which files are none."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from emulator.containers.contract import Answer, StreamedAnswer
from emulator.containers.errors import NoAnswer
from emulator.containers.stub.answers import NotRendered, text_with
from emulator.containers.stub.container import StubContainer
from emulator.containers.stub.file import read
from emulator.errors import ContainerTimeout, ContainerUnreachable, SetupError
from emulator.invocation import Invocation
from emulator.limits import Limits
from tests.support.virtual_time import in_virtual_time

REQUEST = {"EndpointName": "e", "TargetModel": "m", "ContentType": None, "Body": {"city": "faro", "rooms": 3}}


class Running:
    """The container of a stub's file, and what it logs."""

    def __init__(self, file: Path) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.container = StubContainer(file, self.lines.append, self.warnings.append)

    async def start(self) -> Running:
        await self.container.start()
        self.contract = self.container.contract(Limits())
        return self

    async def invoke(self, body: bytes = b"{}", target_model: str = "", seconds: float = 60.0, **more: Any) -> Answer:
        invocation = Invocation("e", body, 0.0, target_model=target_model, **more)
        return await self.contract.invoke("/invocations", invocation, asyncio.get_running_loop().time() + seconds)


def answers(directory: Path, text: str, *requests: tuple[bytes, str]) -> tuple[list[Any], list[str]]:
    """What these requests get, each an answer or an error; and what is logged."""
    file = directory / "stub.yaml"
    file.write_text(text)

    async def main() -> tuple[list[Any], list[str]]:
        running = await Running(file).start()
        found = [await asyncio.gather(running.invoke(*each), return_exceptions=True) for each in requests]
        return [each for (each,) in found], running.lines

    return in_virtual_time(main())


def test_the_first_answer_whose_conditions_hold_is_sent(tmp_path: Path) -> None:
    text = """
        Endpoints:
          - EndpointName: e
            Answers:
              - {TargetModel: europe/*, BodyMembers: {"rooms[0].size": 3, cheap: true}, Json: first}
              - {TargetModel: europe/*, BodyMatches: "^a.c$", Text: second}
          - {EndpointName: other, Answers: [{Text: not this one}]}
        Answers:
          - {TargetModel: "*/osaka", Base64: AAE=, ContentType: image/png, Status: 201}
    """
    found, lines = answers(
        tmp_path,
        text,
        (b'{"rooms": [{"size": 3.0}], "cheap": true}', "europe/lisbon"),
        (b"abc", "europe/lisbon"),
        (b"", "asia/osaka"),
        (b'{"rooms": [{"size": 3}], "cheap": 1}', "europe/lisbon"),
    )
    assert [(each.status, each.body) for each in found[:3]] == [(200, b'"first"'), (200, b"second"), (201, b"\0\1")]
    types = [each.header(b"content-type") for each in found[:3]]
    assert types == [b"application/json", b"text/plain; charset=utf-8", b"image/png"]
    assert isinstance(found[3], NoAnswer)
    assert lines == [
        "No answer for TargetModel europe/lisbon of endpoint e: line 5: cheap is 1, not true; "
        "line 6: the body does not match ^a.c$; line 9: TargetModel is not */osaka"
    ]


def test_an_answer_has_parts_of_the_request_in_it() -> None:
    assert text_with("${Body.city} of ${EndpointName}: $5, $$, ${Body}", REQUEST) == (
        'faro of e: $5, $, {"city": "faro", "rooms": 3}'
    )
    assert text_with("${length(Body.city)}", REQUEST) == "4"
    for nothing in ("${Body.street}", "${ContentType}", "${length(Body.rooms)}"):
        with pytest.raises(NotRendered, match="has no"):
            text_with(nothing, REQUEST)


def test_a_value_of_json_is_the_value_that_it_names(tmp_path: Path) -> None:
    text = """
        Answers:
          - {BodyMembers: {ask: values}, Json: {n: "${Body.n}", none: "${Body.none}", text: "n=${Body.n}"}}
          - {Text: "${Body.none}", CustomAttributes: "x"}
    """
    (first, second), _ = answers(tmp_path, text, (b'{"ask": "values", "n": [1]}', ""), (b"{}", ""))
    assert json.loads(first.body) == {"n": [1], "none": None, "text": "n=[1]"}
    assert (second.status, second.body) == (500, b"The request has no Body.none, which the answer names.")


def test_a_file_beside_it_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"png")
    text = "Answers: [{File: picture.png, ContentType: image/png, CustomAttributes: 'a=${TargetModel}'}]"
    ((answer,), _) = answers(tmp_path, text, (b"", "m"))
    assert answer.body == b"png" and answer.header(b"x-amzn-sagemaker-custom-attributes") == b"a=m"


def test_a_stream_has_its_chunks_and_the_time_between_them(tmp_path: Path) -> None:
    file = tmp_path / "stub.yaml"
    file.write_text("Answers: [{Chunks: [a, {b: 1}], DelaySeconds: 2, ChunkDelaySeconds: 3}]")

    async def main() -> None:
        running, loop = await Running(file).start(), asyncio.get_running_loop()
        answer = await running.contract.invoke_stream("", Invocation("e", b"", 0.0), loop.time() + 60)
        assert isinstance(answer, StreamedAnswer)
        assert [(loop.time(), chunk) async for chunk in answer.chunks] == [(2, b"a"), (5, b'{"b": 1}')]
        assert (await running.invoke()).body == b'a{"b": 1}'
        with pytest.raises(ContainerTimeout):
            await running.invoke(seconds=4)
        under_way = asyncio.ensure_future(running.invoke())
        await asyncio.sleep(1)
        running.contract.close()
        with pytest.raises(ContainerUnreachable):
            await under_way
        assert await running.container.wait() == "was stopped"

    in_virtual_time(main())


def test_the_file_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "stub.yaml"
    file.write_text("Answers: [{Text: before}]")

    def change(text: str) -> None:
        new = tmp_path / "new"
        new.write_text(text)
        os.replace(new, file)

    async def main() -> None:
        running = await Running(file).start()
        change("Answers: [{Text: after}]")
        assert (await running.invoke()).body == b"after"
        change("Answers: [{Txt: never}]")
        assert [(await running.invoke()).body for _ in range(2)] == [b"after"] * 2
        [warning] = running.warnings
        assert "stub.yaml:1: " in warning and "did you mean Text?" in warning
        file.unlink()
        assert (await running.invoke()).body == b"after"

    in_virtual_time(main())


def test_a_request_that_came_without_a_length_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "stub.yaml"
    file.write_text("Answers: [{BodyMatches: '^ab$', Text: it is}]")

    async def main() -> None:
        async def chunks() -> Any:
            yield b"a"
            yield b"b"

        assert (await (await Running(file).start()).invoke(b"", chunks=chunks)).body == b"it is"

    in_virtual_time(main())


def test_an_endpoint_is_there_without_being_named(tmp_path: Path) -> None:
    file = tmp_path / "stub.json"
    file.write_text('{"Answers": [{"Json": 1}]}')
    assert read(file).endpoints == {"local": "MultiModel"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("- a", 1, "must be a mapping with the key Answers or Endpoints"),
        ("Answer: []", 1, "Answer: is not a key of this file: did you mean Answers?"),
        ("Answers: []", 1, "must have an answer"),
        ("Answers:\n  - {}", 2, "needs one of Json, Text, Base64, File, Chunks"),
        ("Answers:\n  - {Text: a, Json: b}", 2, "and has 2"),
        ("Answers:\n  - Text: a\n    Status: 302", 3, "Status: must be a status from 200 to 299, or from 400 to 599"),
        ("Answers:\n  - Text: a\n    DelaySeconds: soon", 3, "DelaySeconds: must be seconds up to 3600"),
        ("Answers:\n  - Text: 1", 2, "Text: must be a string"),
        ("Answers:\n  - Base64: '?'", 2, "Base64: is not base64"),
        ("Answers:\n  - File: nowhere.json", 2, "File: there is no file"),
        ("Answers:\n  - Json: 2026-01-01", 2, "Json: has a value that JSON does not have"),
        ("Answers:\n  - Json: {a: ['${Body.}']}", 2, "Json: ${Body.} is not an expression of JMESPath"),
        ("Answers:\n  - Text: '${Bdy.a}'", 2, "the request has EndpointName, TargetModel, "),
        ("Answers:\n  - Text: a\n    BodyMembers: {'a[': 1}", 3, "is not an expression of JMESPath"),
        ("Answers:\n  - Text: a\n    BodyMatches: '('", 3, "BodyMatches: is not a regular expression"),
        ('Answers:\n  - Text: a\n    ContentType: "a\\nb"', 3, "ContentType: must be a string of printable ASCII"),
        ("Endpoints:\n  - {Answers: [{Text: a}]}", 2, "EndpointName: must have up to 63 letters"),
        ("Endpoints:\n  - {EndpointName: a, Mode: Many, Answers: []}", 2, "Mode: must be MultiModel or SingleModel"),
        ("Endpoints:\n  - {EndpointName: a}\n  - {EndpointName: A}", 3, "EndpointName: is there twice"),
        ("Answers:\n  - Text: a\n    Text: b", 3, "is there twice"),
        ("Answers: {a: 1}", 1, "Answers: must be a list"),
    ],
)
def test_each_mistake_is_named_with_its_line_and_key(tmp_path: Path, text: str, line: int, words: str) -> None:
    file = tmp_path / "stub.yaml"
    file.write_text(text)
    with pytest.raises(SetupError) as refused:
        read(file)
    assert str(refused.value).startswith(f"{file}:{line}: ") and words in str(refused.value), refused.value
