"""boto3's clients for tests, and the errors that they raise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import Session

ACCOUNT, REGION = "123456789012", "us-east-1"
# Of no profile, whatever the environment says: that may be the one of an emulator in this process.
_SESSION = boto3.Session(botocore_session=Session(session_vars={"profile": (None, None, None, None)}))
KEYS = {"aws_access_key_id": "placeholder", "aws_secret_access_key": "placeholder", "region_name": REGION}


def aws_client(
    service: str,
    url: str | None,
    *,
    region: str = REGION,
    access_key: str = "placeholder",
    secret_key: str = "placeholder",
    session_token: str | None = None,
    **config: Any,
) -> Any:
    """A client of a service at this address, which tries once; ``config`` is botocore's."""
    return _SESSION.client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=session_token,
        config=Config(**{"retries": {"total_max_attempts": 1}, **config}),
    )


@dataclass(frozen=True)
class Refusal:
    """The error that a call was answered with."""

    response: dict[str, Any]  # of botocore's ClientError

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response["ResponseMetadata"]["HTTPStatusCode"]

    @property
    def code(self) -> str:
        return self.response["Error"]["Code"]

    @property
    def message(self) -> str:
        return self.response["Error"].get("Message", "")

    @property
    def from_the_container(self) -> tuple[str, int]:
        """The code, and of a ModelError the status that the container answered with."""
        return self.code, self.response["OriginalStatusCode"]


def refused(call: Callable[..., Any], *arguments: Any, **members: Any) -> Refusal:
    """Make a call that has to be answered with an error of AWS; that error."""
    with pytest.raises(ClientError) as caught:
        call(*arguments, **members)
    return Refusal(caught.value.response)


def invalid(call: Callable[..., Any], *arguments: Any, **members: Any) -> str:
    """Make a call that has to be answered with a ValidationException; its message."""
    refusal = refused(call, *arguments, **members)
    assert (refusal.status, refusal.code) in ((400, "ValidationException"), (400, "ValidationError")), refusal
    return refusal.message
