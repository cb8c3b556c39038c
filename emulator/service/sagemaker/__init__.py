"""SageMaker's control plane, as far as hosting goes."""

TARGET_PREFIX = "SageMaker."  # of the header X-Amz-Target, before the operation [api]
