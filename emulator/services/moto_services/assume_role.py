"""STS's AssumeRole: its parameters and its response. moto's own keys would be known to nobody but moto. [api]"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass

from emulator.aws.arn import ACCOUNT_ID
from emulator.aws.errors import AwsError
from emulator.aws.sessions import DEFAULT_SECONDS, Sessions
from emulator.aws.xml_document import document

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
ROLE_ARN = re.compile(rf"arn:[a-z-]+:iam::{ACCOUNT_ID}:role/(?:[\x21-\x7e]+/)?[\w+=,.@-]{{1,64}}", re.ASCII)
SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
SECONDS = range(900, 43_200 + 1)
MOST_TAGS = 50
TAG = re.compile(r"Tags\.member\.(\d{1,3})\.(Key|Value)", re.ASCII)
NOT_EMULATED = ("PolicyArns", "TransitiveTagKeys", "SourceIdentity", "ProvidedContexts")


@dataclass(frozen=True)
class AssumeRole:
    """The parameters of a call."""

    role_arn: str
    session_name: str
    seconds: int
    external_id: str
    tags: tuple[tuple[str, str], ...]
    policy: str


def read(parameters: Mapping[str, str]) -> AssumeRole:
    """Raises AwsError for parameters that are missing, invalid or not emulated."""
    for name in parameters:
        if (first := name.partition(".")[0]) in NOT_EMULATED:
            raise AwsError("NotImplemented", 501, f"AssumeRole with {first} is not emulated by localmme.")
    role_arn, session_name = parameters.get("RoleArn", ""), parameters.get("RoleSessionName", "")
    if not ROLE_ARN.fullmatch(role_arn):
        raise _invalid(f"RoleArn must be the ARN of a role in account {ACCOUNT_ID}")
    if not SESSION_NAME.fullmatch(session_name):
        raise _invalid("RoleSessionName must be 2 to 64 letters, digits and +=,.@-_")
    seconds = parameters.get("DurationSeconds", str(DEFAULT_SECONDS))
    if not re.fullmatch(r"\d{1,6}", seconds, re.ASCII) or int(seconds) not in SECONDS:
        raise _invalid(f"DurationSeconds must be a whole number from {SECONDS[0]} to {SECONDS[-1]}")
    return AssumeRole(
        role_arn,
        session_name,
        int(seconds),
        parameters.get("ExternalId", ""),
        _tags(parameters),
        parameters.get("Policy", ""),
    )


def respond(parameters: Mapping[str, str], sessions: Sessions, request_id: str) -> bytes:
    """Open the session; the response's document. Raises AwsError."""
    wanted = read(parameters)
    session = sessions.open(wanted.role_arn, wanted.session_name, wanted.seconds, wanted.tags, wanted.policy)
    expires = datetime.datetime.fromtimestamp(session.expires, datetime.timezone.utc)
    return document(
        "AssumeRoleResponse",
        [
            (
                "AssumeRoleResult",
                [
                    (
                        "Credentials",
                        [
                            ("AccessKeyId", session.access_key_id),
                            ("SecretAccessKey", session.secret_access_key),
                            ("SessionToken", session.token),
                            ("Expiration", expires.strftime("%Y-%m-%dT%H:%M:%SZ")),
                        ],
                    ),
                    ("AssumedRoleUser", [("Arn", session.arn), ("AssumedRoleId", session.user_id)]),
                ],
            ),
            ("ResponseMetadata", [("RequestId", request_id)]),
        ],
        NAMESPACE,
    )


def _tags(parameters: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    found: dict[int, dict[str, str]] = {}
    for name, value in parameters.items():
        if match := TAG.fullmatch(name):
            found.setdefault(int(match[1]), {})[match[2]] = value
    tags = [found[number] for number in sorted(found)]
    keys = [tag.get("Key", "").lower() for tag in tags]
    if len(tags) > MOST_TAGS or not all(keys) or len(set(keys)) < len(keys):
        raise _invalid(f"Tags must be at most {MOST_TAGS}, each with a Key of its own")
    return tuple((tag["Key"], tag.get("Value", "")) for tag in tags)


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", 400, f"{message}.")
