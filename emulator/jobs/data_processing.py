"""What DataProcessing makes of the records of a transform job: filters, and joins of outputs to their inputs. [dg]

A row of CSV is an array of its fields. Of JSON Lines, each line is a document; of JSON, each record is.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from emulator.jobs.json_path import JsonPath, NothingSelected
from emulator.jobs.record_splitting import Record, RecordProblem

Format = Literal["csv", "json"]
FORMATS: dict[str, Format] = {"text/csv": "csv", "application/json": "json", "application/jsonlines": "json"}
csv.field_size_limit((1 << 31) - 1)  # the most that all platforms take: MaxPayloadInMB is what limits records
_SCALAR = json.JSONEncoder(ensure_ascii=False)
INPUT, OUTPUT = "SageMakerInput", "SageMakerOutput"  # [dg] the attributes of a joined record


@dataclass(frozen=True)
class DataProcessing:
    """The filters and the join of a job. Every method raises RecordProblem for what is not in the format."""

    format: Format  # of inputs
    output_format: Format  # the same, if they are joined
    input_filter: JsonPath
    join: bool
    output_filter: JsonPath

    @property
    def changes_inputs(self) -> bool:
        return not self.input_filter.selects_all

    @property
    def changes_outputs(self) -> bool:
        return self.join or not self.output_filter.selects_all

    def filtered(self, found: Iterable[Record]) -> Iterator[FilteredRecord]:
        """The records that containers get in place of those found."""
        for record in found:
            data = _dumped(self.format, self._select(self.input_filter, _loaded(self.format, record.data), "input"))
            yield FilteredRecord(data.removesuffix(b"\n"), data, record.data)

    def output(self, inputs: list[bytes], answer: bytes) -> bytes:
        """What is stored of the answer to a mini-batch of these inputs, as they were before they were filtered."""
        outputs = self._outputs(answer, len(inputs))
        if self.join:
            if len(outputs) != len(inputs):
                # [ours] The words.
                raise RecordProblem(
                    "ClientError: Fail to join data: mismatched line count between the input and the output"
                )
            outputs = [
                self._joined(_loaded(self.format, one), output) for one, output in zip(inputs, outputs, strict=True)
            ]
        return b"".join(
            _dumped(self.output_format, self._select(self.output_filter, output, "output")) for output in outputs
        )

    def _outputs(self, answer: bytes, count: int) -> list[Any]:
        if self.output_format == "json" and count == 1:
            return [_loaded("json", answer)]
        return [_loaded(self.output_format, line) for line in answer.splitlines() if line]

    def _joined(self, read: Any, output: Any) -> Any:
        if self.format == "csv":
            return read + output
        return {**read, OUTPUT: output} if isinstance(read, dict) else {INPUT: read, OUTPUT: output}

    def _select(self, path: JsonPath, value: Any, what: str) -> Any:
        try:
            return path.select(value)
        except NothingSelected as error:
            raise RecordProblem(f"ClientError: Fail to apply {path.text} to the {what}: {error}") from None


@dataclass(frozen=True, slots=True)
class FilteredRecord(Record):
    """What the input filter selects of a record."""

    before: bytes  # the record's data as it was


def _loaded(format: Format, data: bytes) -> Any:
    try:
        text = data.decode()
        if format == "json":
            return json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_no_number)
        return next(csv.reader([text], strict=True), [])
    except UnicodeDecodeError:
        raise RecordProblem("ClientError: Unable to parse data as UTF-8") from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise RecordProblem(f"ClientError: Unable to parse data as {format.upper()}: {error}") from None


def _dumped(format: Format, value: Any) -> bytes:
    """A line of the format, with its end. Raises RecordProblem."""
    if format == "json":
        try:
            # Only half of a surrogate pair cannot be encoded; with a backslash it is JSON as it was.
            return _json(value).encode("utf-8", "backslashreplace") + b"\n"
        except RecursionError as error:
            raise RecordProblem(f"ClientError: Unable to write data as JSON: {error}") from None
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(value if isinstance(value, list) else [value])
    return line.getvalue().encode()


class _Number(str):
    """A number of JSON in the digits that it was read in: as a float it would lose some, or be infinite."""


def _no_number(name: str) -> _Number:
    raise ValueError(f"{name} is not JSON")


def _json(value: Any) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join([f"{_SCALAR.encode(name)}:{_json(each)}" for name, each in value.items()]) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return _SCALAR.encode(value)
