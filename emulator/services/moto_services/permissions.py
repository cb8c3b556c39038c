"""The permission that a call of one of moto's services requires: its action, on all resources."""

from __future__ import annotations

from emulator.aws.permissions import RequiredPermission
from emulator.aws.request import AwsRequest
from emulator.aws.services import MOTO_SERVICES
from emulator.services.moto_services.service_call import read

FREE = {"sts:GetCallerIdentity"}  # [api] anybody may
# What gives keys that nobody would know here.
GIVE_KEYS = {
    "AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "AssumeRoot", "GetFederationToken",
    "GetSessionToken",
}  # fmt: skip


async def required_permissions(request: AwsRequest, region: str, body: bytes) -> list[RequiredPermission]:
    """The request's content is the call that is executed. Raises AwsError."""
    request.content = call = await read(request, body)
    known = MOTO_SERVICES.get(call.service)
    action = f"{known.api_name if known else call.service}:{call.operation}"
    return [] if action in FREE else [RequiredPermission(action, "*", {})]
