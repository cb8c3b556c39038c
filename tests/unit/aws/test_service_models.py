"""Values against botocore's model of the API: what fits, and each way in which one does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.model import Shape
from botocore.validate import ParamValidator

from emulator.aws.service_models import Problem, compiled_pattern, problems, shape
from tests.support.api_values import TEXTS, fits, fitting


def reachable() -> dict[str, Shape]:
    """Every shape within the three calls."""
    found: dict[str, Shape] = {}

    def add(one: Shape) -> None:
        if one.name not in found:
            found[one.name] = one
            parts: list[Shape] = []
            if one.type_name == "structure":
                parts = list(one.members.values())
            elif one.type_name == "list":
                parts = [one.member]
            elif one.type_name == "map":
                parts = [one.key, one.value]
            for part in parts:
                add(part)

    for call in ("CreateModelInput", "CreateEndpointConfigInput", "CreateEndpointInput"):
        add(shape(call))
    return found


SHAPES = reachable()
TYPES = sorted({each.type_name for each in SHAPES.values()})


def shapes_of(type_name: str) -> list[Shape]:
    return [each for each in SHAPES.values() if each.type_name == type_name]


def unfitting(of: Shape) -> Iterator[tuple[Any, str]]:
    """Values of the right type that break one rule each, and the kind of that rule."""
    least, most = of.metadata.get("min"), of.metadata.get("max")
    if of.type_name in ("integer", "long", "float", "double"):
        if least is not None:
            yield least - 1, "min"
        if most is not None:
            yield most + 1, "max"
    elif of.type_name == "string":
        if "enum" in of.metadata:
            yield "no-such-value", "enum"
            yield of.metadata["enum"][0] + " ", "enum"
            return
        if least:
            yield "a" * (least - 1), "min"
        if most is not None:
            yield "a" * (most + 1), "max"
        wrong = [text for text in TEXTS if len(text) >= (least or 0) and len(text) <= (most or 10**6)]
        wrong.append("\n" * max(1, least or 0))
        yield from ((text, "pattern") for text in wrong if not fits(of, text))
    elif of.type_name == "list":
        if least:
            yield [fitting(of.member)] * (least - 1), "min"
        if most is not None:
            yield [fitting(of.member)] * (most + 1), "max"
    elif of.type_name == "map" and most is not None:
        yield {f"a{n}": fitting(of.value) for n in range(most + 1)}, "max"


WRONG_TYPES: list[Any] = [None, True, 1, 1.5, "a", [], {}]
RIGHT_TYPES: dict[str, list[Any]] = {
    "structure": [{}], "map": [{}], "list": [[]], "string": ["a"], "boolean": [True],
    "integer": [1], "long": [1], "float": [1, 1.5], "double": [1, 1.5],
}  # fmt: skip


def found(of: Shape, value: Any) -> list[Problem]:
    return list(problems(of, value, ("at",)))


def botocore_minds(of: Shape, value: Any) -> bool:
    return ParamValidator().validate(value, of).has_errors()


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize("full", [True, False])
def test_the_api_takes_what_fits(type_name: str, full: bool) -> None:
    for of in shapes_of(type_name):
        value = fitting(of, full)
        assert found(of, value) == [], of
        assert not botocore_minds(of, value), of


@pytest.mark.parametrize("type_name", TYPES)
def test_the_api_refuses_what_breaks_a_rule(type_name: str) -> None:
    for of in shapes_of(type_name):
        cases = list(unfitting(of))
        if of.metadata.get("enum") or of.metadata.get("max") or of.metadata.get("min"):
            assert cases, ("a rule without a case", of)
        for value, kind in cases:
            [problem] = found(of, value)
            assert (problem.place, problem.kind) == (("at",), kind), (of, value)
            if kind in ("min", "max", "pattern", "enum"):
                assert problem.bound == of.metadata[kind], of
                assert "\n" not in problem.message, of


@pytest.mark.parametrize("type_name", TYPES)
def test_the_api_refuses_other_types(type_name: str) -> None:
    right = [repr(value) for value in RIGHT_TYPES[type_name]]
    for of in shapes_of(type_name):
        for value in WRONG_TYPES:
            if repr(value) not in right:
                [problem] = found(of, value)
                assert (problem.place, problem.kind, problem.bound) == (("at",), "type", type_name), of
                # To Python, and so to botocore, True is a number.
                assert botocore_minds(of, value) or value is True, of


@pytest.mark.parametrize("of", shapes_of("structure"), ids=lambda of: of.name)
def test_the_api_refuses_members_that_are_missing_or_unknown(of: Shape) -> None:
    value = fitting(of)
    for member in of.required_members:
        less = {key: item for key, item in value.items() if key != member}
        [problem] = found(of, less)
        assert (problem.place, problem.kind) == (("at", member), "missing")
        assert botocore_minds(of, less)
    [problem] = found(of, {**value, "NoSuchMember": 1})
    assert (problem.place, problem.kind) == (("at", "NoSuchMember"), "unknown")
    assert botocore_minds(of, {**value, "NoSuchMember": 1})
    for member in of.members:
        swapped = {**value, member.swapcase(): value[member]}
        assert f"did you mean {member}?" in found(of, swapped)[0].message


def test_java_patterns_mean_in_python_what_they_mean_in_java() -> None:
    tag = compiled_pattern(SHAPES["TagValue"].metadata["pattern"])
    role = compiled_pattern(SHAPES["RoleArn"].metadata["pattern"])
    assert tag is not None and role is not None
    assert all(tag.fullmatch(text) for text in ("", "Grün 1", "日本", "²\u2003x", "a/b:c@d"))
    assert not any(tag.fullmatch(text) for text in ("x!", "a\tb", "a\nb", "#"))
    assert role.fullmatch("arn:aws:iam::123456789012:role/x")
    assert not role.fullmatch("arn:aws:iam::١٢٣٤٥٦٧٨٩٠١٢:role/x")  # \d is ASCII's in Java
    assert compiled_pattern(r"[\p{L}\p{M}]") is None  # not known here, so not checked


def test_of_alternatives_exactly_one_is_taken() -> None:
    union = shape("AutoMLProblemTypeConfig")
    first, second, *_ = union.members
    kinds = [problem.kind for problem in found(union, {first: {}, second: {}})]
    assert kinds.count("union") == 1
    assert [problem.kind for problem in found(union, {})] == ["union"]
