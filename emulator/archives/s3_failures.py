"""Explains errors of real S3 to users: cause and remedy, never with a secret."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from emulator.archives.model_data_url import S3Url

# S3's codes for credentials that are there, but of no use.
BAD_CREDENTIALS = {
    "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}  # fmt: skip
# botocore's names of errors for want of credentials. Their texts are not repeated: they may be those of a program
# that fetches credentials.
CREDENTIAL_ERRORS = ("Credential", "Token", "SSO", "Login")
WANTED = "s3:ListBucket and s3:GetObject"


def is_not_there(error: Exception) -> bool:
    """Whether S3 says that there is no such object."""
    return error_status(error) == 404


def is_refused(error: Exception) -> bool:
    """Whether S3 denies access to these credentials. Without the right to list, it does so for a missing object too."""
    return error_status(error) == 403 and error_code(error) not in BAD_CREDENTIALS


def is_unreachable(error: Exception) -> bool:
    """Whether there is no connection to S3. An answer that does not come in time says nothing of other requests."""
    from botocore import exceptions

    return isinstance(error, exceptions.ConnectionError)


def is_of_credentials(error: Exception) -> bool:
    """Whether credentials cannot be loaded, so that no request has been sent."""
    from botocore import exceptions

    is_named_so = any(word in type(error).__name__ for word in CREDENTIAL_ERRORS)
    return isinstance(error, exceptions.BotoCoreError) and is_named_so


def bucket_region(error: BaseException | None) -> str:
    """The region of the bucket that S3 has refused to show; empty if it did not say."""
    response = getattr(error, "response", {})
    return str(response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region", ""))


def problem(error: Exception, url: S3Url, endpoint: str) -> str:
    """Cause and remedy of an error. ``endpoint`` is the address of S3; empty if it is not known."""
    from botocore import exceptions

    name, code, place = type(error).__name__, error_code(error), _place(endpoint)
    if code in BAD_CREDENTIALS:
        return (
            f"{url} cannot be read: S3{place} does not accept the AWS credentials ({code}). "
            "Renew them (aws sso login, aws configure), or choose others with AWS_PROFILE."
        )
    if isinstance(error, exceptions.ClientError):
        return _refusal(error, url, place)
    if isinstance(error, exceptions.ProfileNotFound):
        return f"{url} cannot be read: {error}. Check AWS_PROFILE."
    if is_of_credentials(error):
        return (
            f"{url} cannot be read: no AWS credentials were found ({name}). Set AWS_PROFILE, or AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY; or sign in with aws configure or aws sso login."
        )
    if isinstance(error, exceptions.ResponseStreamingError | exceptions.IncompleteReadError | EOFError):
        return f"The download of {url}{place} broke off again and again. Check the network, and try again."
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        return f"{url} cannot be read: S3{place} cannot be reached. Check the network{_environment()}."
    if name == "ResponseParserError":
        return _no_s3(url, place)
    return f"{url} cannot be read: {name}: {error}"


def _refusal(error: Any, url: S3Url, place: str) -> str:
    code, status = error_code(error), error_status(error)
    if code == "NoSuchBucket":
        return f"There is no bucket {url.bucket} in S3{place}. Check the URL, and whose credentials these are."
    if code == "PreconditionFailed":
        return f"{url} was changed while it was downloaded. Try again."
    if status == 403:
        return f"S3{place} denies access to {url} ({code}): these credentials need {WANTED} for it."
    if status == 404 and error.operation_name.startswith("List"):
        return _no_s3(url, place)
    return f"{url} cannot be read: S3{place} answers {code}: {error.response.get('Error', {}).get('Message', '')}"


def _no_s3(url: S3Url, place: str) -> str:
    return f"{url} cannot be read: what answers{place} is not S3. Check the address of S3{_environment()}."


def _environment() -> str:
    """The set variables that name an endpoint, which ``localmme env`` may have set."""
    names = [name for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") if os.environ.get(name)]
    if not names:
        return ""
    if names == ["AWS_ENDPOINT_URL"]:
        return ": AWS_ENDPOINT_URL is set, perhaps by localmme env. Unset it, or set AWS_ENDPOINT_URL_S3 for S3"
    return f": {names[0]} is set"


def _place(endpoint: str) -> str:
    """`` at HOST`` for a host that is not Amazon's; else an empty string."""
    split = urlsplit(endpoint)
    host = split.hostname or ""
    if not host or host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return ""
    host = f"[{host}]" if ":" in host else host
    return f" at {split.scheme}://{host}" + (f":{split.port}" if split.port else "")


def error_code(error: Exception) -> str:
    """S3's code; empty for an error that is not an answer of S3."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def error_status(error: Exception) -> int:
    """The HTTP status of S3's answer; 0 for an error that is not an answer of S3."""
    response = getattr(error, "response", None)
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if isinstance(response, dict) else 0
