"""Names that are suggested instead of mistyped ones."""

from __future__ import annotations

from emulator.suggestions import MOST_SUGGESTED, did_you_mean, similar_names

KNOWN = ["ModelName", "ModelDataUrl", "Image", "Environment"]


def test_a_similar_name_is_suggested_as_it_is_written() -> None:
    assert did_you_mean("modelnam", KNOWN) == "did you mean ModelName?"


def test_nothing_is_suggested_where_no_name_is_similar() -> None:
    assert did_you_mean("Tags", KNOWN) == ""
    assert did_you_mean("Tags", []) == ""


def test_a_name_that_differs_in_case_alone_is_the_only_suggestion() -> None:
    assert similar_names("CONFIG-1", ["config-2", "Config-1", "config-3"]) == ["Config-1"]


def test_the_most_similar_names_are_suggested_first_and_not_too_many() -> None:
    names = ["invocation", "invocations", "invocatoin", "invoke", "invocation_seconds"]
    assert similar_names("invocationn", names)[0] == "invocation"
    assert len(similar_names("invocationn", names)) == MOST_SUGGESTED
    assert did_you_mean("lisbno", ["lisbon", "lisbon2"]) == "did you mean lisbon or lisbon2?"


def test_less_similar_names_are_found_where_the_caller_says_so() -> None:
    assert similar_names("ping", ["ping_seconds", "load_seconds"]) == []
    assert similar_names("ping", ["ping_seconds", "load_seconds"], similarity=0.3) == ["ping_seconds"]
