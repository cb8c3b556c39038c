"""Conditional requests and ranges of bytes, as HTTP and S3 define them. [RFC 9110, api]"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping

from emulator.aws.decimals import decimal
from emulator.services.s3.call import S3Call
from emulator.services.s3.errors import invalid_range, not_implemented, precondition_failed
from emulator.storage.errors import NoSuchKey
from emulator.storage.object_store import StoredObject, WriteCondition

RANGE = re.compile(r"bytes\s*=\s*([0-9]*)\s*-\s*([0-9]*)\s*")


class Unchanged(Exception):
    """The reader already has this object."""


def check_reading(entry: StoredObject, headers: Mapping[str, str], prefix: str = "") -> None:
    """Raises PreconditionFailed, and Unchanged; ``prefix`` is that of the headers about a copy's source."""
    if_match, if_none_match = headers.get(f"{prefix}if-match"), headers.get(f"{prefix}if-none-match")
    unmodified_since = seconds(headers.get(f"{prefix}if-unmodified-since"))
    modified_since = seconds(headers.get(f"{prefix}if-modified-since"))
    if if_match is not None:
        if not matches(entry, if_match):
            raise precondition_failed("If-Match")
    elif unmodified_since is not None and entry.modified > unmodified_since:
        raise precondition_failed("If-Unmodified-Since")
    if if_none_match is not None:
        if matches(entry, if_none_match):
            raise Unchanged
    elif modified_since is not None and entry.modified <= modified_since:
        raise Unchanged


def for_writing(call: S3Call) -> WriteCondition | None:
    """A test for the object that will be replaced or deleted, also if only real S3 has it; None if there is no
    condition. Raises RealS3Unavailable."""
    if_match = call.headers.get("if-match")
    if_none_match = call.headers.get("if-none-match") if call.method != "DELETE" else None
    if if_match is None and if_none_match is None:
        return None
    if if_none_match not in (None, "*"):
        raise not_implemented("If-None-Match with an entity tag for a write")

    there = call.read_through.entry_there(call.bucket, call.key) if call.read_through is not None else None

    def condition(here: StoredObject | None) -> None:
        present = here or there
        if if_none_match is not None and present is not None:
            raise precondition_failed("If-None-Match")
        if if_match is not None:
            if present is None:
                raise NoSuchKey(call.key)
            if not matches(present, if_match):
                raise precondition_failed("If-Match")

    return condition


def matches(entry: StoredObject, tags: str) -> bool:
    """Whether a list of entity tags, or ``*``, names this object's."""
    wanted = [tag.strip().removeprefix("W/").strip('"') for tag in tags.split(",")]
    return "*" in wanted or entry.attributes.etag in wanted


def seconds(date: str | None) -> int | None:
    """Seconds since 1970; None for an invalid date, which HTTP says to ignore."""
    if date is None:
        return None
    try:
        return int(email.utils.parsedate_to_datetime(date).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


def byte_range(range_header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and count of the range in a Range header; None for the whole object.

    Raises InvalidRange when nothing of the object is in it. What cannot be understood, such as several
    ranges, is overlooked, as S3 does.
    """
    match = RANGE.fullmatch(range_header) if range_header else None
    if range_header is None or match is None or not (match[1] or match[2]):
        return None
    begins, ends = decimal(match[1]), decimal(match[2])
    if begins is None:
        count = min(ends or 0, size)
        if count == 0:
            raise invalid_range(range_header, size)
        return size - count, count
    if ends is not None and ends < begins:
        return None
    if begins >= size:
        raise invalid_range(range_header, size)
    return begins, (size if ends is None else min(ends + 1, size)) - begins
