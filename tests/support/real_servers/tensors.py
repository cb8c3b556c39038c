"""Numbers to and from a Triton model, as JSON or as JSON followed by binary data."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from typing import Any

from tests.support.emulator_process import RunningEmulator

JSON = "application/json"
BINARY = "application/vnd.sagemaker-triton.binary+json;json-header-size="


def json_request(values: Sequence[float]) -> tuple[bytes, str]:
    """The body and the content type of a request in JSON."""
    return json.dumps({"inputs": [{**tensor("INPUT", values), "data": list(values)}]}).encode(), JSON


def binary_request(values: Sequence[float]) -> tuple[bytes, str]:
    """The body and the content type of a binary request for a binary answer."""
    data = array("f", values).tobytes()
    inputs = [{**tensor("INPUT", values), "parameters": {"binary_data_size": len(data)}}]
    outputs = [{"name": "OUTPUT", "parameters": {"binary_data": True}}]
    header = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    return header + data, f"{BINARY}{len(header)}"


def answered(body: bytes, content_type: str) -> list[float]:
    """The numbers in an answer of either kind."""
    if content_type == JSON:
        return list(json.loads(body)["outputs"][0]["data"])
    if not content_type.startswith(BINARY):
        raise ValueError(f"not an answer of Triton: {content_type}: {body[:1000]!r}")
    size = int(content_type.removeprefix(BINARY))
    [output] = json.loads(body[:size])["outputs"]
    data = body[size:]
    if output["parameters"]["binary_data_size"] != len(data):
        raise ValueError(f"{len(data)} bytes of data after {output}")
    return list(array("f", data))


def tensor(name: str, values: Sequence[float]) -> dict[str, Any]:
    """What JSON says of a tensor, but for its data."""
    return {"name": name, "datatype": "FP32", "shape": [len(values)]}


def ask(emulator: RunningEmulator, target_model: str, request: tuple[bytes, str]) -> Sequence[float]:
    """What a model of an emulator's endpoint answers to a request and its content type."""
    body, content_type = request
    response = emulator.client().invoke_endpoint(
        EndpointName="local", TargetModel=target_model, ContentType=content_type, Accept=content_type, Body=body
    )
    return answered(response["Body"].read(), response["ContentType"])
