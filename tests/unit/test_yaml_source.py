"""A YAML or JSON text as plain values, the line of each, and what is said of what is not plain."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.aws.service_models import Place
from emulator.yaml_source import NotYaml, YamlSource

TEXT = """\
# A comment
Models:
  - Name: a
    Environment: {LEVEL: "2", N: 2}
  -
    Name: b
Other: [x, y]
"""


@pytest.mark.parametrize(
    "text, value",
    [
        ("", None),
        ("# nothing\n", None),
        ("hello", "hello"),
        ("3", 3),
        ("[1, 2.5, true, no, null, ~, text, '1', 2024-01-31]",
         [1, 2.5, True, False, None, None, "text", "1", datetime.date(2024, 1, 31)]),
        ("a: {b: [c]}", {"a": {"b": ["c"]}}),
        ("1: x", {"1": "x"}),  # a key is what is written
        ("yes: x", {"yes": "x"}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("a: &x {b: 1}\nc: &y {b: 2, d: 3}\ne: {<<: [*x, *y]}",
         {"a": {"b": 1}, "c": {"b": 2, "d": 3}, "e": {"b": 1, "d": 3}}),
        ("a: &x {<<: *x, b: 1}", {"a": {"b": 1}}),
        ("a: 1e-05", {"a": "1e-05"}),  # in YAML 1.1 that is a string
        # JSON
        ('{"a": 1e-05, "b": -2E3, "c": "1e-05"}', {"a": 1e-05, "b": -2000.0, "c": "1e-05"}),
        ('{\n\t"a":\t[1]\n}', {"a": [1]}),
        (r'{"a": "\ud83d\ude00 \u00e4"}', {"a": "\N{GRINNING FACE} ä"}),
    ],
)  # fmt: skip
def test_values_are_plain(text: str, value: Any) -> None:
    source = YamlSource(text)
    assert source.value == value
    assert source.problems == []


@pytest.mark.parametrize(
    "place, line",
    [
        ((), 1),
        (("Models",), 2),
        (("Models", 0), 3),
        (("Models", 0, "Name"), 3),
        (("Models", 0, "Environment", "LEVEL"), 4),
        (("Models", 1), 6),
        (("Other", 1), 7),
        # Of what is missing, where it would belong
        (("None",), 1),
        (("Models", 0, "None"), 3),
        (("Models", 7, "Name"), 2),
        (("Other", "Name"), 7),
    ],
)
def test_each_value_has_its_line(place: Place, line: int) -> None:
    assert YamlSource(TEXT).line(place) == line


def test_what_was_merged_has_the_line_that_it_is_written_on() -> None:
    source = YamlSource("a: &x\n  b: 1\nc:\n  <<: *x\n  d: 2\n")
    assert [source.line(("c", name)) for name in ("b", "d")] == [2, 5]


@pytest.mark.parametrize(
    "place, text",
    [
        (("Models", 0, "Environment", "N"), "2"),
        (("Models", 0, "Environment", "LEVEL"), ""),  # it is in quotes
        (("Other", 0), "x"),
        (("Other",), ""),
        (("None", "x"), ""),
        (("Other", 9), ""),
    ],
)
def test_what_is_not_in_quotes_is_known_as_it_was_written(place: Place, text: str) -> None:
    assert YamlSource(TEXT).unquoted(place) == text


@pytest.mark.parametrize(
    "text, line, place, message",
    [
        ("a: 1\nb: 2\na: 3", 3, ("a",), "is there twice: it is already on line 1"),
        ("a: !Ref b", 1, ("a",), "has an unknown tag: !Ref"),
        ("a: !!set {b}", 1, ("a",), "has an unknown tag: !!set"),
        ("a: !!python/name:os.system x", 1, ("a",), "has an unknown tag: !!python/name:os.system"),
        ("a: {[b]: c}", 1, ("a",), "has a key that is not a string"),
        ("a:\n  <<: b", 2, ("a", "<<"), "takes mappings only"),
        ("a:\n  <<: [b]", 2, ("a", "<<"), "takes mappings only"),
        ("a: &x {b: *x}", 1, ("a", "b"), "is an alias of something that it is itself a part of"),
        ("&x [*x]", 1, (0,), "is an alias of something that it is itself a part of"),
        ("a: 2026-13-01", 1, ("a",),
         "cannot be read: month must be in 1..12. If it is meant as a string, put it in quotes"),
        (r'a: "b\0c"', 1, ("a",), "has the character NUL in it"),
    ],
)  # fmt: skip
def test_what_only_a_program_could_make_sense_of_is_a_problem(text: str, line: int, place: Place, message: str) -> None:
    assert YamlSource(text).problems == [(line, place, message)]


def test_all_problems_are_there_at_once() -> None:
    assert [line for line, _, _ in YamlSource("a: !x 1\nb: 1\nb: 2\nc: 2026-13-01\n").problems] == [3, 1, 4]


@pytest.mark.parametrize(
    "text, line, message",
    [
        ("a:\n\tb: 1", 2, "a tab: YAML is indented by spaces only"),
        ("a: 1\nb: c: d", 2, "mapping values are not allowed here: put a text that ends with a colon, or has one "
         "before a space, in quotes"),
        ("a: {b: c\nd: e", 2, "while parsing a flow mapping, expected ',' or '}', but got ':'"),
        ("a: 1\n---\nb: 2", 2, "expected a single document in the stream, but found another document"),
        ("a: 1\nb: *c", 2, "found undefined alias 'c'"),
        ("a: 1\nb: \x07", 2, "the character 0x7 is not allowed in YAML"),
        ("[" * 1000, 1, "the file is nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_no_yaml_is_an_error_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(NotYaml) as raised:
        YamlSource(text)
    assert (raised.value.line, str(raised.value)) == (line, message)


@given(st.text(alphabet="[]{}:,-&*!|>'\"%@#?<~ \n\tabM0", max_size=60))
@settings(max_examples=80)
def test_any_text_is_a_value_or_an_error(text: str) -> None:
    try:
        source = YamlSource(text)
    except NotYaml as error:
        assert 1 <= error.line <= text.count("\n") + 2
    else:
        assert all(1 <= line <= text.count("\n") + 1 for line, _, _ in source.problems)
