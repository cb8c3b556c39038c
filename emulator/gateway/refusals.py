"""Refusals before any service: of what is not HTTP, of what is not admitted, and when the emulator ends."""

from __future__ import annotations

from emulator.aws.asgi import Headers, Receive, Send, drain
from emulator.aws.errors import AwsError
from emulator.aws.protocols import send_error
from emulator.aws.request import AwsRequest

CLOSE = (b"connection", b"close")
# [api] S3's codes; the words of the first are from public reports. Other services' are not public: they get the same.
TOO_LONG = AwsError(
    "RequestHeaderSectionTooLarge", 400, "Your request header and metadata exceed the maximum allowed size."
)
ENDING = AwsError("ServiceUnavailable", 503, "The emulator is ending.")  # [api] the code, of all services


def not_http(reason: str) -> AwsError:
    """``reason`` is what is wrong, as a sentence without its full stop."""
    return AwsError("BadRequest", 400, f"An error occurred when parsing the HTTP request. {reason}.")


async def send_unadmitted(request: AwsRequest, error: AwsError, receive: Receive, send: Send) -> None:
    """Answer a request of whose body nothing has been read."""
    more: Headers = []
    if request.expects_continue:
        more.append(CLOSE)
    else:
        await drain(receive)
    await send_error(request, error, send, more)


async def send_last(request: AwsRequest, error: AwsError, send: Send) -> None:
    """Answer the last request of its connection."""
    await send_error(request, error, send, [CLOSE])
