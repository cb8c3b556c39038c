"""A Docker container may call the control plane, but not come to run code outside of itself by that."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from emulator.aws.request import AwsRequest
from emulator.containers.docker.aws_network import ADDRESS
from emulator.services.sagemaker import TARGET_PREFIX
from tests.support.asgi_client import http_scope, respond
from tests.support.fake_containers import DirectControlPlane
from tests.support.transform_jobs import TRANSFORM_JOB

MODEL = {
    "ModelName": "m",
    "ExecutionRoleArn": "arn:aws:iam::123456789012:role/tests",
    "PrimaryContainer": {"Image": "command:true", "Mode": "MultiModel", "ModelDataUrl": "s3://bucket/"},
}


def test_a_docker_container_may_not_create_models_or_jobs(tmp_path: Path) -> None:
    async def scenario() -> None:
        control_plane = DirectControlPlane(tmp_path)

        async def call(operation: str, document: object) -> tuple[int, object]:
            headers = {"x-amz-target": f"{TARGET_PREFIX}{operation}"}
            request = AwsRequest(http_scope("POST", "/", headers, server=(ADDRESS, 1234)))
            request.service = "sagemaker"
            response = await respond(control_plane.application, request, json.dumps(document).encode())
            return response.status, response.json()

        status, refusal = await call("CreateModel", MODEL)
        assert status == 400 and "A Docker container may not create models" in str(refusal)
        status, refusal = await call("CreateTransformJob", TRANSFORM_JOB)
        assert status == 400 and "A Docker container may not create models or jobs" in str(refusal)
        assert await call("ListModels", {}) == (200, {"Models": []})
        await control_plane.close()

    asyncio.run(scenario())
