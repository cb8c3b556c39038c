"""DataProcessing: what containers get of records, and what is stored of their answers."""

import io

import pytest

from emulator.jobs.data_processing import DataProcessing, Format
from emulator.jobs.json_path import JsonPath
from emulator.jobs.record_splitting import RecordProblem, body_of, records


def processing(format: Format, inputs: str = "$", join: bool = False, outputs: str = "$") -> DataProcessing:
    return DataProcessing(format, format, JsonPath(inputs), join, JsonPath(outputs))


@pytest.mark.parametrize(
    ("format", "path", "source", "expected"),
    [
        ("csv", "$[1:]", b"7,a,0.50\n8,b,1e3\n", b"a,0.50\nb,1e3\n"),
        ("csv", "$[0]", b"7,a\n8,b", b"7\n8\n"),
        ("csv", "$[0,2]", b'"x, ""y""",a,\xc3\xa9\n', b'"x, ""y""",\xc3\xa9\n'),
        ("json", "$.features", b'{"id": 7, "features": [1, 2.5]}\n', b"[1,2.5]\n"),
        ("json", "$['a','b']", b'{"a": "\xc3\xa9", "b": null, "c": 1}', b'{"a":"\xc3\xa9","b":null}\n'),
    ],
)
def test_containers_get_what_the_input_filter_selects(
    format: Format, path: str, source: bytes, expected: bytes
) -> None:
    found = list(processing(format, path).filtered(records(io.BytesIO(source), "Line", 0)))
    assert body_of(list(found), single=False) == expected
    assert body_of(list(found[:1]), single=True) == expected.splitlines()[0]


@pytest.mark.parametrize(
    ("format", "outputs", "inputs", "answer", "expected"),
    [
        ("csv", "$", [b"7,a", b"8,b"], b"0.1\n0.2", b"7,a,0.1\n8,b,0.2\n"),
        ("csv", "$[0,-1]", [b"7,a", b"8,b"], b"0.1,x\r\n0.2,y\r\n", b"7,x\n8,y\n"),
        ("json", "$", [b'{"key":1}'], b'{\n "label": 1\n}', b'{"key":1,"SageMakerOutput":{"label":1}}\n'),
        ("json", "$", [b"[1, 2]"], b"0.5", b'{"SageMakerInput":[1,2],"SageMakerOutput":0.5}\n'),
        (
            "json",
            "$['id','SageMakerOutput']",
            [b'{"id":1,"x":2}', b'{"id":2,"x":3}'],
            b'{"s":1}\n{"s":2}\n',
            b'{"id":1,"SageMakerOutput":{"s":1}}\n{"id":2,"SageMakerOutput":{"s":2}}\n',
        ),
        ("json", "$.SageMakerOutput", [b'{"SageMakerOutput":"overwritten"}'], b"1", b"1\n"),
    ],
)
def test_outputs_are_joined_to_their_inputs_and_filtered(
    format: Format, outputs: str, inputs: list[bytes], answer: bytes, expected: bytes
) -> None:
    assert processing(format, join=True, outputs=outputs).output(inputs, answer) == expected


def test_without_a_join_the_output_filter_is_of_the_answer_alone() -> None:
    assert processing("csv", outputs="$[0]").output([b"7,a", b"8,b"], b"0.1,x\n0.2,y\n0.3,z\n") == b"0.1\n0.2\n0.3\n"
    assert processing("json", outputs="$.label").output([b"{}"], b'{"label": [1]}') == b"[1]\n"


def test_outputs_may_be_in_another_format_than_inputs() -> None:
    mixed = DataProcessing("csv", "json", JsonPath("$[1:]"), False, JsonPath("$['class']"))
    assert mixed.output([b"7,a"], b'{"class": "A", "scores": []}') == b'"A"\n'


@pytest.mark.parametrize(
    "text",
    [b"1e400", b"-0", b"0.12345678901234567890", b"1.5E+02", b"9" * 5000, b"null", b'"\\ud800"', b'"\\n\\"\\\\"'],
)
def test_values_of_json_stay_as_they_were_written(text: bytes) -> None:
    line = b'{"a":[' + text + b'],"b":{"c":' + text + b"}}"
    joined = b'{"a":[' + text + b'],"b":{"c":' + text + b'},"SageMakerOutput":' + line + b"}\n"
    assert processing("json", join=True).output([line], line) == joined
    (found,) = processing("json", "$.b.c").filtered(records(io.BytesIO(line), "Line", 0))
    assert found.data == text


def test_a_field_of_csv_may_be_as_long_as_a_payload() -> None:
    long = b"x" * (1 << 20)
    (found,) = processing("csv", "$[1]").filtered(records(io.BytesIO(b"7," + long), "Line", 0))
    assert found.data == long
    assert processing("csv", join=True).output([b"7," + long], long) == b"7," + long + b"," + long + b"\n"


@pytest.mark.parametrize(
    ("format", "outputs", "inputs", "answer", "message"),
    [
        (
            "csv",
            "$",
            [b"7", b"8"],
            b"0.1\n",
            "Fail to join data: mismatched line count between the input and the output",
        ),
        ("csv", "$[9]", [b"7"], b"0.1\n", "Fail to apply $[9] to the output: it has no position 9, but 2 elements"),
        ("json", "$", [b"{}"], b"not JSON", "Unable to parse data as JSON: Expecting value: line 1 column 1 (char 0)"),
        ("json", "$", [b"\xff"], b"{}", "Unable to parse data as UTF-8"),
        ("json", "$", [b"[" * 100_000], b"{}", "Unable to parse data as JSON: "),
        ("json", "$", [b"{}"], b"[NaN]", "Unable to parse data as JSON: NaN is not JSON"),
        ("json", "$", [b'{"a":-Infinity}'], b"1", "Unable to parse data as JSON: -Infinity is not JSON"),
        ("json", "$", [b"[" * 990 + b"]" * 990], b"{}", "Unable to "),
        ("csv", "$", [b'"7'], b"1", "Unable to parse data as CSV: unexpected end of data"),
    ],
)
def test_what_cannot_be_processed_is_a_client_error(
    format: Format, outputs: str, inputs: list[bytes], answer: bytes, message: str
) -> None:
    with pytest.raises(RecordProblem) as raised:
        processing(format, join=True, outputs=outputs).output(inputs, answer)
    assert str(raised.value).startswith(f"ClientError: {message}")
