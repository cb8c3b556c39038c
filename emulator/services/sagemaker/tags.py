"""AddTags, ListTags, DeleteTags: one function for each operation."""

from __future__ import annotations

from typing import Any

from emulator.aws.decimals import decimal
from emulator.aws.errors import AwsError
from emulator.services.sagemaker.control_plane import ControlPlane
from emulator.services.sagemaker.errors import bad_token, validation_error
from emulator.services.sagemaker.records import Record

MOST_TAGS = 50  # [api] of one resource
MAX_RESULTS = 50  # [ours] without MaxResults


async def add(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = _tagged_record(control_plane, request)
    tags = {**record.tags, **{tag["Key"]: tag["Value"] for tag in request["Tags"]}}
    if len(tags) > MOST_TAGS:
        raise validation_error(f"A resource has at most {MOST_TAGS} tags, and {record.name} would have {len(tags)}.")
    await _set_tags(control_plane, record, tags)
    return {"Tags": _tag_list(tags)}


async def list_(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    tags = _tag_list(_tagged_record(control_plane, request).tags)
    first = decimal(request.get("NextToken", "0"))
    if first is None:
        raise bad_token()
    end = first + request.get("MaxResults", MAX_RESULTS)
    return {"Tags": tags[first:end], **({"NextToken": str(end)} if end < len(tags) else {})}


async def delete(control_plane: ControlPlane, request: dict[str, Any]) -> dict[str, Any]:
    record = _tagged_record(control_plane, request)
    await _set_tags(
        control_plane, record, {key: value for key, value in record.tags.items() if key not in request["TagKeys"]}
    )
    return {}


def _tagged_record(control_plane: ControlPlane, request: dict[str, Any]) -> Record:
    """The record that ResourceArn names. Raises AwsError when there is no such record."""
    record = control_plane.by_arn(request["ResourceArn"])
    if record is None:
        raise validation_error(f"Could not find the resource {request['ResourceArn']}.")  # [ours]
    return record


async def _set_tags(control_plane: ControlPlane, record: Record, tags: dict[str, str]) -> None:
    """Raises AwsError when they cannot be stored; the record then keeps its old tags."""
    before, record.tags = record.tags, tags
    try:
        await control_plane.keep(record)
    except AwsError:
        record.tags = before
        raise


def _tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
