"""The permission that a call of one of moto's services requires: its action, on all resources."""

from __future__ import annotations

from collections.abc import Iterator

from emulator.aws.permissions import RequiredPermission
from emulator.aws.request import AwsRequest
from emulator.aws.services import MOTO_SERVICES
from emulator.services.moto_services import assume_role
from emulator.services.moto_services.service_call import ServiceCall, read

FREE = {"sts:GetCallerIdentity"}  # [api] anybody may
# What gives keys that nobody would know here.
GIVE_KEYS = {
    "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "AssumeRoot", "GetFederationToken", "GetSessionToken",
}  # fmt: skip


async def required_permissions(request: AwsRequest, region: str, body: bytes) -> list[RequiredPermission]:
    """The request's content is the call that is executed. Raises AwsError."""
    request.content = call = await read(request, body)
    known = MOTO_SERVICES.get(call.service)
    action = f"{known.api_name if known else call.service}:{call.operation}"
    if action == "sts:AssumeRole":
        return list(_of_assume_role(call))
    return [] if action in FREE else [RequiredPermission(action, "*", {})]


def _of_assume_role(call: ServiceCall) -> Iterator[RequiredPermission]:
    """It is asked of the role, and session tags are a permission of their own. Raises AwsError. [iam user guide]"""
    wanted = assume_role.read(call.parameters)
    context: dict[str, tuple[str, ...]] = {"sts:rolesessionname": (wanted.session_name,)}
    if wanted.external_id:
        context["sts:externalid"] = (wanted.external_id,)
    if wanted.tags:
        context["aws:tagkeys"] = tuple(key for key, _ in wanted.tags)
        context |= {f"aws:requesttag/{key.lower()}": (value,) for key, value in wanted.tags}
    yield RequiredPermission("sts:AssumeRole", wanted.role_arn, context)
    if wanted.tags:
        yield RequiredPermission("sts:TagSession", wanted.role_arn, context)
