"""InvokeEndpointWithResponseStream by boto3, for a model of a multi-model endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.support.emulator_process import RunningEmulator


def stream(emulator: RunningEmulator, target_model: str, body: bytes = b"{}", **request: Any) -> dict[str, Any]:
    """boto3's answer. The API has no TargetModel for this operation, so the header is put in on the way."""
    client = emulator.client(retries={"total_max_attempts": 1}, tcp_keepalive=True)
    client.meta.events.register(
        "before-call.sagemaker-runtime.InvokeEndpointWithResponseStream",
        lambda params, **_: params["headers"].update({"X-Amzn-SageMaker-Target-Model": target_model}),
    )
    return client.invoke_endpoint_with_response_stream(EndpointName="local", Body=body, **request)


def chunks(answer: dict[str, Any]) -> Iterator[bytes]:
    for event in answer["Body"]:
        yield event["PayloadPart"]["Bytes"]
