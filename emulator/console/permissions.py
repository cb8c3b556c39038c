"""The permissions that the emulator's own pages require. [ours]"""

from __future__ import annotations

from emulator.aws.permissions import RequiredPermission
from emulator.aws.request import PAGES, AwsRequest

SEE = "localmme:GetEvents"  # all that the page in a browser shows
# By the first part of the path; any other page has one of its own.
OF_THE_PAGE = {
    **dict.fromkeys(("", "static", "entries", "events", "what-if", "calls", "login"), SEE),
    "actions": "localmme:PostActions",
}


async def required_permissions(request: AwsRequest, region: str, body: bytes) -> list[RequiredPermission]:
    """``localmme:GetState`` for ``GET /_localmme/state``, and so on."""
    part = request.path[len(PAGES) :].partition("/")[0]
    verb = "Get" if request.method in ("GET", "HEAD") else request.method.capitalize()
    name = part.title().replace("-", "").replace("_", "")
    return [RequiredPermission(OF_THE_PAGE.get(part, f"localmme:{verb}{name}"), "*", {})]
