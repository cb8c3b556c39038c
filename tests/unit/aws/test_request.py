"""What a request is for, by its head alone."""

from __future__ import annotations

import pytest

from emulator.aws.request import AwsRequest


@pytest.mark.parametrize(
    ("head", "service"),
    [
        ({"authorization": "AWS4-HMAC-SHA256 Credential=k/20260101/eu-west-1/sts/aws4_request, Signature=x"}, "sts"),
        ({"authorization": "AWS4-ECDSA-P256-SHA256 Credential=k/20260101/s3/aws4_request, Signature=x"}, "s3"),
        ({"authorization": "AWS key:signature"}, "s3"),
        ({"query": "X-Amz-Credential=k%2F20260101%2Fus-east-1%2Fecr%2Faws4_request"}, "ecr"),
        ({"x-amz-target": "SageMaker.ListModels"}, "sagemaker"),
        ({"x-amz-target": "Logs_20140328.DescribeLogGroups"}, "logs"),
        ({"x-amz-target": "Unheard.Of"}, ""),
        ({"path": "/service/GraniteServiceVersion20100801/operation/ListMetrics"}, "monitoring"),
        ({"content-type": "application/x-www-form-urlencoded; charset=utf-8"}, "sts"),
        ({"query": "Action=AssumeRoleWithWebIdentity"}, "sts"),
        ({"content-type": "application/json"}, ""),
        ({"path": "/_localmme/health"}, ""),
        ({"authorization": "Bearer AWS4"}, ""),
    ],
)
def test_the_service_is_told_by_the_head_of_a_request(head: dict[str, str], service: str) -> None:
    head = dict(head)
    path, query = head.pop("path", "/"), head.pop("query", "")
    headers = [(name.encode(), value.encode()) for name, value in head.items()]
    scope = {"method": "POST", "path": path, "query_string": query.encode(), "headers": headers}
    assert AwsRequest(scope).named_service == service
