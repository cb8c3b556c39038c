"""What a request needs to be allowed: an invocation, a job, and the emulator's own pages."""

from __future__ import annotations

import asyncio

import pytest

from emulator.aws.permissions import RequiredPermission
from emulator.aws.request import AwsRequest
from emulator.console import permissions as of_pages
from emulator.services.runtime import permissions as of_invocations
from emulator.services.sagemaker import permissions as of_sagemaker


def request(method: str, path: str, **headers: str) -> AwsRequest:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return AwsRequest(
        {"method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": pairs}
    )


ENDPOINT = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/prices"


@pytest.mark.parametrize(
    "path, headers, action, context",
    [
        ("/endpoints/prices/invocations", {}, "sagemaker:InvokeEndpoint", {}),
        ("/endpoints/prices/invocations-response-stream", {}, "sagemaker:InvokeEndpointWithResponseStream", {}),
        ("/endpoints/prices/async-invocations", {}, "sagemaker:InvokeEndpointAsync", {}),
        ("/endpoints/prices/invocations", {"x_amzn_sagemaker_target_model": "a.tar.gz", "x_other": "x"},
         "sagemaker:InvokeEndpoint", {"sagemaker:targetmodel": ("a.tar.gz",)}),
        ("/endpoints/prices/invocations",
         {"x_amzn_sagemaker_target_model": "", "x_amzn_sagemaker_target_container_hostname": "one"},
         "sagemaker:InvokeEndpoint", {"sagemaker:targetcontainerhostname": ("one",)}),
    ],
)  # fmt: skip
def test_an_invocation_is_about_its_endpoint_and_what_it_names_there(
    path: str, headers: dict[str, str], action: str, context: dict[str, tuple[str, ...]]
) -> None:
    required = asyncio.run(of_invocations.required_permissions(request("POST", path, **headers), "eu-west-1", b""))
    assert required == [RequiredPermission(action, ENDPOINT, context)]


@pytest.mark.parametrize("path", ["/endpoints/prices", "/endpoints/prices/other", "/endpoints", "/"])
def test_what_is_no_operation_is_left_to_be_refused(path: str) -> None:
    assert asyncio.run(of_invocations.required_permissions(request("POST", path), "eu-west-1", b"")) == []


@pytest.mark.parametrize(
    "method, path, action",
    [
        ("GET", "/_localmme/state", "localmme:GetState"),
        ("HEAD", "/_localmme/state", "localmme:GetState"),
        ("GET", "/_localmme/metrics", "localmme:GetMetrics"),
        ("POST", "/_localmme/state", "localmme:PostState"),
        ("GET", "/_localmme/recent-log_lines/more", "localmme:GetRecentLogLines"),
        ("GET", "/_localmme/", "localmme:GetEvents"),
        ("GET", "/_localmme/static/page.js", "localmme:GetEvents"),
        ("GET", "/_localmme/entries", "localmme:GetEvents"),
        ("GET", "/_localmme/calls/1/body", "localmme:GetEvents"),
        ("POST", "/_localmme/actions/unload-model", "localmme:PostActions"),
    ],
)
def test_each_page_has_a_permission_of_its_own(method: str, path: str, action: str) -> None:
    required = asyncio.run(of_pages.required_permissions(request(method, path), "eu-west-1", b""))
    assert required == [RequiredPermission(action, "*", {})]


def test_the_model_of_a_transform_job_is_a_condition() -> None:
    document = {
        "TransformJobName": "J",
        "ModelName": "M",
        "TransformResources": {"InstanceType": "ml.m5.large"},
        "Tags": [{"Key": "k", "Value": "v"}],
    }
    arn = "arn:aws:sagemaker:eu-west-1:123456789012"
    context = {
        "aws:tagkeys": ("k",),
        "aws:requesttag/k": ("v",),
        "sagemaker:instancetypes": ("ml.m5.large",),
        "sagemaker:modelarn": (f"{arn}:model/m",),
    }
    required = of_sagemaker.permissions_of("CreateTransformJob", document, "eu-west-1")
    assert required == [RequiredPermission("sagemaker:CreateTransformJob", f"{arn}:transform-job/j", context)]


def test_a_training_job_is_about_itself_and_passes_its_role() -> None:
    role = "arn:aws:iam::123456789012:role/training"
    document = {"TrainingJobName": "J", "RoleArn": role, "ResourceConfig": {"InstanceType": "ml.m5.large"}}
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:training-job/j"
    required = of_sagemaker.permissions_of("CreateTrainingJob", document, "eu-west-1")
    assert required == [
        RequiredPermission("sagemaker:CreateTrainingJob", arn, {"sagemaker:instancetypes": ("ml.m5.large",)}),
        RequiredPermission("iam:PassRole", role, {"iam:passedtoservice": ("sagemaker.amazonaws.com",)}),
    ]
