"""What the execution role of a job may do in S3: SageMaker reads a job's data and stores its output with it. [api]"""

from __future__ import annotations

from collections.abc import Callable

from emulator.aws.arn import s3_arn
from emulator.aws.permissions import Context
from emulator.hosting.execution_roles import ExecutionRoles
from emulator.jobs.errors import JobFailed, download_failed, upload_failed


class RoleAccess:
    """The permissions of one job. All methods raise JobFailed for what the role may not do."""

    def __init__(self, roles: ExecutionRoles | None, role_arn: str, region: str) -> None:
        """``roles`` of None allow everything, as those of an emulator without access control do."""
        self._roles, self._role_arn, self._region = roles, role_arn, region

    def check_list(self, bucket: str, prefix: str) -> None:
        """To list the keys with that prefix."""
        self._check("s3:ListBucket", s3_arn(self._region, bucket), {"s3:prefix": (prefix,)}, download_failed)

    def check_read(self, bucket: str, key: str) -> None:
        """To read an object."""
        self._check("s3:GetObject", s3_arn(self._region, bucket, key), {}, download_failed)

    def check_write(self, bucket: str, key: str) -> None:
        """To store an object."""
        self._check("s3:PutObject", s3_arn(self._region, bucket, key), {}, upload_failed)

    def _check(self, action: str, resource: str, context: Context, failed: Callable[[str], JobFailed]) -> None:
        if self._roles is not None and not self._roles.allows(self._role_arn, action, resource, context):
            role = self._roles.arn(self._role_arn)
            raise failed(f"AccessDenied (403): the execution role {role} may not {action} on {resource}")
