"""The names of each AWS service: in signatures, in policies, in API models, on the wire, and for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AwsService:
    """One service. [api]"""

    signing_name: str  # what its requests are signed for
    api_name: str  # of its model in botocore, and of its actions in policies
    name: str  # what people call it
    target_prefix: str = ""  # X-Amz-Target names an operation after it; empty where operations come as forms

    @property
    def moto_name(self) -> str:
        """The name of moto's part for it."""
        return self.api_name.replace("-", "")


SAGEMAKER = AwsService("sagemaker", "sagemaker", "SageMaker", "SageMaker")
# Those that moto answers for, by signing name. Their protocols are JSON with an X-Amz-Target, or AWS's query.
MOTO_SERVICES = {
    service.signing_name: service
    for service in (
        AwsService("sts", "sts", "STS"),
        AwsService("iam", "iam", "IAM"),
        AwsService(
            "application-autoscaling", "application-autoscaling", "Application Auto Scaling", "AnyScaleFrontendService"
        ),
        AwsService("ecr", "ecr", "ECR", "AmazonEC2ContainerRegistry_V20150921"),
        AwsService("monitoring", "cloudwatch", "CloudWatch", "GraniteServiceVersion20100801"),
        AwsService("logs", "logs", "CloudWatch Logs", "Logs_20140328"),
    )
}
# The signing names of the services, by what their operations are named after in X-Amz-Target and in paths of RPC v2.
SIGNING_NAMES = {
    service.target_prefix: service.signing_name
    for service in (SAGEMAKER, *MOTO_SERVICES.values())
    if service.target_prefix
}


def api_model(api_name: str, version: str | None = None) -> dict[str, Any]:
    """What botocore knows of a service's API, in the latest version or in this one; read anew by each call."""
    from botocore.loaders import Loader

    # Without the default search paths: a model in ~/.aws/models is not the service's.
    loader = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    model: dict[str, Any] = loader.load_service_model(api_name, "service-2", version)
    return model
