"""The permissions that a request requires, in IAM's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Context = Mapping[str, tuple[str, ...]]  # a request's condition keys, in lower case, and their values


@dataclass(frozen=True)
class RequiredPermission:
    """One permission that a request requires."""

    action: str  # service:Operation
    resource: str  # an ARN; * where the action is about no resource
    context: Context  # condition keys
