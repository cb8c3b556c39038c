"""The errors of refused requests, in AWS's codes and words.

The same problem has another code in each of AWS's protocols. Those of JSON services are from public reports, those of
the query protocol and of S3 from their references. [api] [reports]
"""

from __future__ import annotations

from typing import NamedTuple

from emulator.aws.errors import AwsError
from emulator.aws.protocols import Protocol
from emulator.errors import EmulatorError


class _Code(NamedTuple):
    """The code of one problem in JSON, in the query protocol and in S3, and its status."""

    json: str
    query: str
    s3: str
    status: int = 403
    rpc_status: int = 400  # in JSON 1.0 and 1.1, and in RPC v2


_CODES = {
    "missing": _Code("MissingAuthenticationTokenException", "MissingAuthenticationToken", "AccessDenied"),
    "incomplete": _Code("IncompleteSignatureException", "IncompleteSignature", "AuthorizationHeaderMalformed", 400),
    "incomplete query": _Code(
        "IncompleteSignatureException", "IncompleteSignature", "AuthorizationQueryParametersError", 400
    ),
    "mechanism": _Code("IncompleteSignatureException", "IncompleteSignature", "InvalidRequest", 400),
    "scope": _Code("InvalidSignatureException", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed"),
    "key": _Code("UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"),
    "session expired": _Code("ExpiredTokenException", "ExpiredToken", "ExpiredToken"),
    "session length": _Code("ValidationException", "ValidationError", "InvalidArgument", 400),
    "token": _Code("UnrecognizedClientException", "InvalidClientTokenId", "InvalidToken"),
    "signature": _Code("InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch"),
    "skew": _Code("InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed"),
    "expired": _Code("InvalidSignatureException", "SignatureDoesNotMatch", "AccessDenied"),
    "unsigned header": _Code("InvalidSignatureException", "SignatureDoesNotMatch", "AccessDenied"),
    "payload": _Code("InvalidSignatureException", "SignatureDoesNotMatch", "InvalidRequest", 400),
    "denied": _Code("AccessDeniedException", "AccessDenied", "AccessDenied"),
    "unreadable": _Code("SerializationException", "MalformedInput", "InvalidArgument", 400),
    "body": _Code("ValidationException", "ValidationError", "IncompleteBody", 400),
}


class Denial(EmulatorError):
    """Why a request is refused, before it is known how its protocol says so.

    ``s3_message`` is for where S3 has other words; ``fields`` are further elements of S3's XML.
    """

    def __init__(self, kind: str | _Code, message: str, s3_message: str = "", **fields: str | int) -> None:
        super().__init__(message)
        self._code = _CODES[kind] if isinstance(kind, str) else kind
        self.message = message
        self._s3_message = s3_message or message
        self._fields = fields

    def error(self, protocol: Protocol) -> AwsError:
        """The error that services of this protocol answer with."""
        code = self._code
        if protocol is Protocol.REST_XML:
            return AwsError(code.s3, code.status, self._s3_message, **self._fields)
        if protocol is Protocol.REST_JSON:
            return AwsError(code.json, code.status, self.message)
        if protocol in (Protocol.JSON, Protocol.CBOR):
            return AwsError(code.json, code.rpc_status, self.message)
        return AwsError(code.query, code.status, self.message)


# The words


def not_admitted(status: int, message: str) -> Denial:
    """A request that the emulator accepts from nobody. [ours]"""
    return Denial(_Code("AccessDeniedException", "AccessDenied", "AccessDenied", status, status), message)


def missing() -> Denial:
    return Denial("missing", "Missing Authentication Token", "Access Denied")


def not_logged_in() -> Denial:
    """The same, of a browser."""
    return Denial(
        "missing",
        "Missing Authentication Token. The emulator's access file says who may see its pages. Open them with the "
        "command localmme open: it logs the browser in as the user whose AWS credentials it finds.",
    )


def mechanism_unsupported() -> Denial:
    """Signature Version 2, or 4A, whose keys are not shared."""
    words = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
    return Denial("mechanism", words)


def incomplete(names: list[str], presigned: bool) -> Denial:
    """``names`` are the parameters that are not there, or cannot be read."""
    if presigned:
        told = " ".join(f"AWS query-string parameters must include '{name}'." for name in names)
        return Denial("incomplete query", told + " Re-examine the query-string parameters.")
    told = " ".join(f"Authorization header requires '{name}' parameter." for name in names)
    return Denial("incomplete", told)


def credential_malformed(presigned: bool) -> Denial:
    words = "Credential must have the form KEY-ID/YYYYMMDD/REGION/SERVICE/aws4_request."
    return Denial("incomplete query" if presigned else "incomplete", words)


def wrong_service(expected: str) -> Denial:
    return Denial("scope", f"Credential should be scoped to correct service: '{expected}'.")


def wrong_region(given: str, expected: str) -> Denial:
    return Denial("scope", f"Credential should be scoped to a valid region, not '{given}': this is '{expected}'.")


def wrong_date(scope_date: str, request_date: str) -> Denial:
    words = f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{scope_date}'"
    return Denial("signature", f"{words} != '{request_date}', from '{request_date}'.")


def unknown_key(access_key_id: str) -> Denial:
    return Denial(
        "key",
        "The security token included in the request is invalid.",
        "The AWS Access Key Id you provided does not exist in our records.",
        AWSAccessKeyId=access_key_id,
    )


def wrong_token() -> Denial:
    return Denial(
        "token",
        "The security token included in the request is invalid.",
        "The provided token is malformed or otherwise invalid.",
    )


def session_expired() -> Denial:
    return Denial(
        "session expired",
        "The security token included in the request is expired",
        "The provided token has expired.",
    )


def session_too_long(why: str) -> Denial:
    return Denial("session length", f"The requested DurationSeconds {why}")


def signature_mismatch(access_key_id: str, provided: str, canonical: str, string_to_sign: str) -> Denial:
    """It contains what should have been signed, to help correct a signer: nothing but the request itself."""
    words = "The request signature we calculated does not match the signature you provided. Check your "
    return Denial(
        "signature",
        f"{words}AWS Secret Access Key and signing method. Consult the service documentation for details.\n\n"
        f"The Canonical String for this request should have been\n'{canonical}'\n\n"
        f"The String-to-Sign should have been\n'{string_to_sign}'\n",
        f"{words}key and signing method.",
        AWSAccessKeyId=access_key_id,
        StringToSign=string_to_sign,
        SignatureProvided=provided,
        CanonicalRequest=canonical,
    )


def header_not_signed(names: list[str]) -> Denial:
    told = " ".join(f"'{name}' must be a 'SignedHeader' in the AWS Authorization." for name in names)
    return Denial(
        "unsigned header",
        told,
        "There were headers present in the request which were not signed",
        HeadersNotSigned=", ".join(names),
    )


def too_old(signed: str, oldest: str, now: str, minutes: int) -> Denial:
    words = f"Signature expired: {signed} is now earlier than {oldest} ({now} - {minutes} min.)"
    return _skewed(words, signed, now, minutes)


def too_new(signed: str, newest: str, now: str, minutes: int) -> Denial:
    words = f"Signature not yet current: {signed} is still later than {newest} ({now} + {minutes} min.)"
    return _skewed(words, signed, now, minutes)


def _skewed(words: str, signed: str, now: str, minutes: int) -> Denial:
    return Denial(
        "skew",
        words,
        "The difference between the request time and the current time is too large.",
        RequestTime=signed,
        ServerTime=now,
        MaxAllowedSkewMilliseconds=minutes * 60_000,
    )


def expired(ends: str, now: str) -> Denial:
    """A presigned URL is out of date."""
    words = f"Signature expired: {ends} is now earlier than {now}"
    return Denial("expired", words, "Request has expired", Expires=ends, ServerTime=now)


def expires_unusable(longest: int) -> Denial:
    return Denial("incomplete query", f"X-Amz-Expires must be between 0 and {longest} seconds")


def payload_hash_missing() -> Denial:
    return Denial("payload", "Missing required header for this request: x-amz-content-sha256")


def payload_hash_unusable() -> Denial:
    return Denial(
        "payload",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, or a valid sha256 value.",
    )


def unreadable(message: str) -> Denial:
    """A request that can be read in more than one way, or not at all."""
    return Denial("unreadable", message)


def no_such_keys(operation: str) -> Denial:
    """Ours."""
    words = f"localmme with --access does not emulate {operation}: the keys that it would give could not be used."
    return Denial("denied", f"{words} Use AssumeRole with a role of the access file, or the keys of a user there.")


def body_incomplete() -> Denial:
    return Denial("body", "The request body ended before it was complete.")


def body_too_long(limit: int) -> Denial:
    """Ours."""
    return Denial("body", f"The request body is over {limit} bytes, the most that can be verified.")


def not_authorized(user_arn: str, action: str, resource: str, explicitly: bool) -> Denial:
    """S3 puts the resource in quotes. [reports]"""

    def told(resource: str) -> str:
        about = f"User: {user_arn} is not authorized to perform: {action} on resource: {resource}"
        if explicitly:
            return f"{about} with an explicit deny in an identity-based policy"
        return f"{about} because no identity-based policy allows the {action} action"

    return Denial("denied", told(resource), told(f'"{resource}"'))
