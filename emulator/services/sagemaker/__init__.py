"""SageMaker's control plane, limited to hosting: models, endpoint configurations, endpoints and tags."""

TARGET_PREFIX = "SageMaker."  # of the header X-Amz-Target, before the operation [api]


def operation_of(target: str) -> str:
    """The operation that a request's X-Amz-Target names."""
    return target.removeprefix(TARGET_PREFIX)
