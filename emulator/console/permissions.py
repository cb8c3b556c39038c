"""The permissions that the emulator's own pages require. [ours]"""

from __future__ import annotations

from emulator.aws.permissions import RequiredPermission
from emulator.aws.request import PAGES, AwsRequest


async def required_permissions(request: AwsRequest, region: str, body: bytes) -> list[RequiredPermission]:
    """``localmme:GetState`` for ``GET /_localmme/state``, and so on."""
    verb = "Get" if request.method in ("GET", "HEAD") else request.method.capitalize()
    name = request.path[len(PAGES) :].partition("/")[0].title().replace("-", "").replace("_", "")
    return [RequiredPermission(f"localmme:{verb}{name}", "*", {})]
