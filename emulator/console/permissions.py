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
    """On all resources, as what the pages show is of all endpoints."""
    return [RequiredPermission(required_action(request.method, request.path[len(PAGES) :]), "*", {})]


def required_action(method: str, name: str) -> str:
    """``localmme:GetState`` for GET of the page ``state``, and so on; ``name`` is the path below ``/_localmme/``."""
    part = name.partition("/")[0]
    verb = "Get" if method in ("GET", "HEAD") else method.capitalize()
    return OF_THE_PAGE.get(part, f"localmme:{verb}{part.title().replace('-', '').replace('_', '')}")
