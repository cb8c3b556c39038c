"""Turns CreateTransformJob requests into definitions of transform jobs, or lists their problems."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.aws.service_models import Place
from emulator.hosting.definition import ModelDefinition
from emulator.hosting.instance_types import instance_types, resources_of
from emulator.hosting.storage_sizes import storage_bytes
from emulator.jobs.data_processing import FORMATS, DataProcessing, Format
from emulator.jobs.json_path import JsonPath
from emulator.jobs.training_definition import Channel
from emulator.jobs.transform_definition import TransformDefinition
from emulator.services.sagemaker import models
from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.definitions import containers
from emulator.services.sagemaker.errors import not_of_batch, validation_error
from emulator.services.sagemaker.job_requests import JobRequestReader
from emulator.services.sagemaker.records import ModelRecord

MOST_PAYLOAD_MB = 100  # [api] of one request, and of all that are under way
LINES = ("text/csv", "application/jsonlines")  # whose records are lines


def with_defaults(request: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as DescribeTransformJob shows them: with the defaults of omitted members. [api]"""
    return {
        **request,
        "TransformInput": {"CompressionType": "None", "SplitType": "None", **request["TransformInput"]},
        "TransformOutput": {"AssembleWith": "None", "KmsKeyId": "", **request["TransformOutput"]},
        "DataProcessing": {
            "InputFilter": "$",
            "OutputFilter": "$",
            "JoinSource": "None",
            **request.get("DataProcessing", {}),
        },
    }


def transform_definition(control_plane: ControlPlane, s3_root: Path, request: Mapping[str, Any]) -> TransformDefinition:
    """The definition of a checked request ``with_defaults``. Blocks. Raises AwsError with all problems."""
    model = _model(control_plane, control_plane.get(ModelRecord, request["ModelName"]))
    reader = _Reader(control_plane, s3_root, request)
    definition = reader.definition(model, control_plane.region)
    reader.refuse_problems()
    return definition


def _model(control_plane: ControlPlane, record: ModelRecord) -> ModelDefinition:
    """Raises AwsError for a model that batch transform does not take."""
    described = [container for _, container in containers(record.arguments)]
    if any("ModelDataSource" in container for container in described):
        raise not_of_batch("ModelDataSource attribute")
    if any(container.get("Mode") == "MultiModel" for container in described):
        raise not_of_batch("MultiModel mode")
    model = models.definition(control_plane, record)
    if model.direct:
        raise validation_error(
            "A transform job needs a model whose InferenceExecutionConfig has Mode Serial."
        )  # [ours]
    return model


class _Reader(JobRequestReader):
    """Reads a request."""

    def __init__(self, control_plane: ControlPlane, s3_root: Path, request: Mapping[str, Any]) -> None:
        super().__init__(s3_root, control_plane.read_through)
        self._request = request

    def definition(self, model: ModelDefinition, region: str) -> TransformDefinition:
        """What it defines; with problems, something that must not be used."""
        request = self._request
        self._check_payload()
        source, output, client = (
            request["TransformInput"],
            request["TransformOutput"],
            request.get("ModelClientConfig", {}),
        )
        instance_type = request["TransformResources"]["InstanceType"]
        known = instance_type if instance_type in instance_types() else None
        strategy = request.get("BatchStrategy")
        return TransformDefinition(
            name=request["TransformJobName"],
            region=region,
            model=model,
            resources=resources_of(known, storage_bytes(known, multi_model=False)),
            input=self._input(source),
            output=self.output(("TransformOutput", "S3OutputPath"), output["S3OutputPath"]),
            split=source["SplitType"],
            content_type=source.get("ContentType"),
            accept=output.get("Accept"),
            assemble_lines=output["AssembleWith"] == "Line",
            single_records=None if strategy is None else strategy == "SingleRecord",
            max_payload_mb=request.get("MaxPayloadInMB"),
            max_concurrent=request.get("MaxConcurrentTransforms"),
            timeout_seconds=client.get("InvocationsTimeoutInSeconds", 600),
            retries=client.get("InvocationsMaxRetries", 3),
            processing=self._processing(request["DataProcessing"]),
            environment=request.get("Environment", {}),
        )

    def _check_payload(self) -> None:
        payload, concurrent = self._request.get("MaxPayloadInMB", 0), self._request.get("MaxConcurrentTransforms", 1)
        if payload > MOST_PAYLOAD_MB:
            self.report(("MaxPayloadInMB",), f"must be at most {MOST_PAYLOAD_MB}, not {payload}")
        elif payload * concurrent > MOST_PAYLOAD_MB:
            product = f"{payload} times MaxConcurrentTransforms {concurrent}"
            self.report(("MaxPayloadInMB",), f"must be at most {MOST_PAYLOAD_MB} in all, not {product}")

    def _input(self, source: Mapping[str, Any]) -> Channel:
        where = source["DataSource"]["S3DataSource"]
        data = self.data(("TransformInput", "DataSource", "S3DataSource"), where)
        return Channel("input", data, where["S3DataType"], source, gzipped=source["CompressionType"] == "Gzip")

    def _processing(self, processing: Mapping[str, Any]) -> DataProcessing | None:
        """The filters and the join; None if they change nothing."""
        place: Place = ("DataProcessing",)
        inputs = self.read((*place, "InputFilter"), lambda: JsonPath(processing["InputFilter"]))
        outputs = self.read((*place, "OutputFilter"), lambda: JsonPath(processing["OutputFilter"]))
        join = processing["JoinSource"] == "Input"
        if inputs is None or outputs is None or (not join and inputs.selects_all and outputs.selects_all):
            return None
        content_type = _media_type(self._request["TransformInput"].get("ContentType"))
        accept = _media_type(self._request["TransformOutput"].get("Accept")) or content_type
        input_format = self._format(("TransformInput", "ContentType"), content_type)
        output_format = self._format(("TransformOutput", "Accept"), accept)
        if input_format is None or output_format is None:
            return None
        if content_type in LINES and self._request["TransformInput"]["SplitType"] != "Line":
            why = f"must be Line: the records of {content_type} are lines"
            self.report(("TransformInput", "SplitType"), why)
        if join and input_format != output_format:
            self.report(place, f"cannot join outputs in {accept} to inputs in {content_type}")
        for name, path, format in (("InputFilter", inputs, input_format), ("OutputFilter", outputs, output_format)):
            if format == "csv" and path.has_names:
                why = "names an attribute, which rows of CSV do not have: give positions"
                self.report((*place, name), why)
        return DataProcessing(input_format, output_format, inputs, join, outputs)

    def _format(self, place: Place, media_type: str) -> Format | None:
        if media_type not in FORMATS:
            self.report(place, f"must be {', '.join(FORMATS)} for DataProcessing")
        return FORMATS.get(media_type)


def _media_type(text: str | None) -> str:
    """Of a header's value, without its parameters."""
    return (text or "").partition(";")[0].strip().lower()
