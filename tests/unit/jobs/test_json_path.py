"""The filters of transform jobs: what a JSONPath selects."""

import pytest

from emulator.jobs.json_path import InvalidJsonPath, JsonPath, NothingSelected

ROW = ["7", "a", "b", "c", "0.5"]
RECORD = {"id": 7, "features": [1, 2, 3], "a b": {"x": 1, "y": [{"z": 1}, {"z": 2}]}, "SageMakerOutput": {"score": 0.5}}


@pytest.mark.parametrize(
    ("path", "value", "selected"),
    [
        ("$", ROW, ROW),
        ("$[0]", ROW, "7"),
        ("$[-1]", ROW, "0.5"),
        ("$[1:]", ROW, ["a", "b", "c", "0.5"]),
        ("$[:2]", ROW, ["7", "a"]),
        ("$[1:-1]", ROW, ["a", "b", "c"]),
        ("$[0,-1]", ROW, ["7", "0.5"]),
        ("$[0, -1]", ROW, ["7", "0.5"]),
        ("$[0,3:]", ROW, ["7", "c", "0.5"]),
        ("$[9:]", ROW, []),
        ("$[*]", ROW, ROW),
        ("$.features", RECORD, [1, 2, 3]),
        ("$.features[1]", RECORD, 2),
        ("$['id']", RECORD, 7),
        ('$["a b"].x', RECORD, 1),
        ("$['id','SageMakerOutput']", RECORD, {"id": 7, "SageMakerOutput": {"score": 0.5}}),
        ("$['id', 'nothing']", RECORD, {"id": 7}),
        ("$.['a b'].['x','y']", RECORD, RECORD["a b"]),
        ("$['a b'].y[*].z", RECORD, [1, 2]),
        ("$.SageMakerOutput.*", RECORD, [0.5]),
    ],
)
def test_a_path_selects_what_jayways_library_would(path: str, value: object, selected: object) -> None:
    assert JsonPath(path).select(value) == selected


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("$[5]", ROW, "it has no position 5, but 5 elements"),
        ("$[0,-6]", ROW, "it has no position -6, but 5 elements"),
        ("$.label", RECORD, "it has no attribute 'label'"),
        ("$.id", ROW, "it has no attribute 'id', as it is not an object"),
        ("$[0]", RECORD, "it has no positions, as it is not an array"),
        ("$.id.*", RECORD, "it has no parts, as it is neither an object nor an array"),
    ],
)
def test_what_is_not_there_is_named(path: str, value: object, message: str) -> None:
    with pytest.raises(NothingSelected) as raised:
        JsonPath(path).select(value)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "path", ["", "features", "[0]", "$.", "$..a", "$[", "$[a]", "$[1:2:3]", "$[,]", "$[?(@.a)]", "$a"]
)
def test_other_texts_are_no_paths(path: str) -> None:
    with pytest.raises(InvalidJsonPath):
        JsonPath(path)


def test_a_path_knows_whether_a_row_of_csv_can_have_it() -> None:
    assert JsonPath("$").selects_all
    assert not JsonPath("$[1:]").selects_all
    assert not JsonPath("$[1:]").has_names
    assert JsonPath("$['id','SageMakerOutput']").has_names
