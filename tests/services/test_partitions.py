"""Policies name ARNs as the services return them, in every partition."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from emulator.aws.sessions import Sessions
from emulator.clock import Clock
from emulator.events import Events
from emulator.gateway.access.access_control import AccessControl, User
from emulator.gateway.access.iam_policy import Statement
from emulator.gateway.access.patterns import ArnPattern, TextPattern
from emulator.gateway.gateway import Gateway
from emulator.gateway.web_guard import WebGuard
from emulator.limits import Limits
from emulator.observers.cloudwatch_metrics import CloudWatchMetrics
from emulator.observers.recent_log_lines import RecentLogLines
from emulator.services.moto_services.app import MotoServicesApp
from emulator.services.runtime.app import RuntimeApp
from emulator.services.s3.app import S3App
from tests.support.asgi_client import respond
from tests.support.fake_containers import DirectControlPlane, FakeContainers, containers
from tests.support.moto_in_process import forget_roles_and_users
from tests.support.signed_requests import signed_scope

__all__ = ["containers"]

FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


async def nobody(*_: Any) -> None:
    raise AssertionError("no request here is for the emulator's own pages")


@pytest.mark.parametrize(
    ("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("eu-west-1", "aws")]
)
def test_a_policy_that_names_a_returned_arn_matches(
    region: str, partition: str, containers: FakeContainers, tmp_path: Path
) -> None:
    async def scenario() -> None:
        control_plane = DirectControlPlane(tmp_path, region=region)
        (tmp_path / "s3" / "bucket" / "key").write_bytes(b"data")
        s3 = S3App(tmp_path / "s3", region)
        forget_roles_and_users()
        others = MotoServicesApp(CloudWatchMetrics(), RecentLogLines(), SimpleNamespace(), region, Sessions(time.time))  # type: ignore[arg-type]
        runtime = RuntimeApp(control_plane.endpoints, Limits(), Events(), Clock())

        async def call(resources: list[str], service: str, **request: Any) -> tuple[int, bytes]:
            """As a user who may do everything with these resources, and nothing with others."""
            allowed = Statement(True, (TextPattern("*"),), tuple(ArnPattern(each) for each in resources))
            me = User("me", "ME", "secret", statements=(allowed,))
            access = AccessControl([me], region, Limits().body_bytes)
            gateway = Gateway(runtime, control_plane.application, s3, others, nobody, nobody, WebGuard(), access)
            scope = signed_scope(("ME", "secret"), service, region, **request)
            response = await respond(gateway, scope, request.get("body", b""))
            return response.status, response.body

        async with containers.serving():
            await control_plane.configure("c")
            _, created = await control_plane.call("CreateEndpoint", EndpointName="Mine", EndpointConfigName="c")
            endpoint = created["EndpointArn"]
            assert endpoint.startswith(f"arn:{partition}:sagemaker:{region}:")
            other = endpoint.replace(f"arn:{partition}:", "arn:aws-other:")
            describe = {
                "headers": {"x-amz-target": "SageMaker.DescribeEndpoint", "content-type": "application/x-amz-json-1.1"},
                "body": b'{"EndpointName": "Mine"}',
            }
            status, body = await call([endpoint], "sagemaker", **describe)
            assert (status, json.loads(body)["EndpointArn"]) == (200, endpoint)
            assert (await call([other], "sagemaker", **describe))[0] == 400

            get = {"method": "GET", "path": "/bucket/key"}
            assert await call([f"arn:{partition}:s3:::bucket/*"], "s3", **get) == (200, b"data")
            assert (await call(["arn:aws-other:s3:::bucket/*"], "s3", **get))[0] == 403

            asked = b"Action=GetCallerIdentity&Version=2011-06-15"
            status, body = await call([], "sts", headers=FORM, body=asked)
            assert ElementTree.fromstring(body).findtext(".//{*}Arn") == f"arn:{partition}:iam::123456789012:user/me"
            # What is denied names the same user.
            _, body = await call([], "sagemaker", **describe)
            assert f"User: arn:{partition}:iam::123456789012:user/me is not authorized".encode() in body
            await control_plane.close()
            await s3.stop()

    asyncio.run(scenario())
