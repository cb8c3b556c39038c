"""Values that fit the shapes of botocore's model of the API."""

from __future__ import annotations

from typing import Any

from botocore.model import Shape

from emulator.aws.service_models import compiled_pattern

TEXTS = [
    "a", "aaaa", "/a", "s3://b/k", "mig-1g.5gb", "arn:aws:iam::123456789012:role/x",
    "arn:aws:sagemaker:us-east-1:123456789012:x/y", "arn:aws:sns:us-east-1:123456789012:x", "text/csv",
    "application/json", "arn:aws:lambda:us-east-1:123456789012:function:x", "", "!", " ", "\n", "ü\0", "//..", "a b",
]  # fmt: skip


def fitting(of: Shape, full: bool = True) -> Any:
    """A value that the API takes, with every member or with the required ones."""
    if of.type_name == "structure":
        return {
            name: fitting(member, full) for name, member in of.members.items() if full or name in of.required_members
        }
    if of.type_name == "list":
        return [fitting(of.member, full)] * max(1, of.metadata.get("min", 0))
    if of.type_name == "map":
        return {fitting(of.key): fitting(of.value)}
    if of.type_name == "string":
        if "enum" in of.metadata:
            return of.metadata["enum"][0]
        return next(text for text in TEXTS if fits(of, text))
    if of.type_name == "boolean":
        return True
    return of.metadata.get("min", 1)


def fits(of: Shape, text: str) -> bool:
    compiled = compiled_pattern(of.metadata.get("pattern", r"[\s\S]*"))
    assert compiled is not None, of.metadata["pattern"]
    least, most = of.metadata.get("min", 0), of.metadata.get("max", 10**6)
    return least <= len(text) <= most and compiled.fullmatch(text) is not None
