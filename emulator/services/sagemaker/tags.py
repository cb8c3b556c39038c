"""AddTags, ListTags, DeleteTags."""

from __future__ import annotations

from typing import Any

from emulator.aws.decimals import decimal
from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.errors import ControlPlaneError, bad_token
from emulator.services.sagemaker.records import Record

MOST_TAGS = 50  # [api] of one resource
MAX_RESULTS = 50  # [ours] without MaxResults


async def add(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    record = _tagged(plane, asked)
    tags = {**record.tags, **{tag["Key"]: tag["Value"] for tag in asked["Tags"]}}
    if len(tags) > MOST_TAGS:
        raise ControlPlaneError(f"A resource has at most {MOST_TAGS} tags, and {record.name} would have {len(tags)}.")
    await _put(plane, record, tags)
    return {"Tags": _listed(tags)}


async def list_(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    tags = _listed(_tagged(plane, asked).tags)
    first = decimal(asked.get("NextToken", "0"))
    if first is None:
        raise bad_token()
    end = first + asked.get("MaxResults", MAX_RESULTS)
    return {"Tags": tags[first:end], **({"NextToken": str(end)} if end < len(tags) else {})}


async def delete(plane: ControlPlane, asked: dict[str, Any]) -> dict[str, Any]:
    record = _tagged(plane, asked)
    await _put(plane, record, {key: value for key, value in record.tags.items() if key not in asked["TagKeys"]})
    return {}


def _tagged(plane: ControlPlane, asked: dict[str, Any]) -> Record:
    record = plane.by_arn(asked["ResourceArn"])
    if record is None:
        raise ControlPlaneError(f"Could not find the resource {asked['ResourceArn']}.")  # [ours]
    return record


async def _put(plane: ControlPlane, record: Record, tags: dict[str, str]) -> None:
    before, record.tags = record.tags, tags
    try:
        await plane.keep(record)
    except ControlPlaneError:
        record.tags = before
        raise


def _listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
