"""S3's errors: the code, status and words of each; those of the storage are in storage_errors. [api]"""

from __future__ import annotations

from emulator.errors import EmulatorError


class S3Error(EmulatorError):
    """An error of the S3 API, as it goes on the wire; ``fields`` are further elements of its XML."""

    def __init__(self, status: int, code: str, message: str, **fields: str | int) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields


class NotModified(S3Error):
    """304: what the caller has is still right. It goes without a body, but with the object's headers."""

    def __init__(self, headers: list[tuple[str, str]]) -> None:
        super().__init__(304, "NotModified", "Not Modified")
        self.headers = headers


# Buckets


def invalid_location_constraint(region: str) -> S3Error:
    return S3Error(
        400, "InvalidLocationConstraint", "The specified location-constraint is not valid", LocationConstraint=region
    )


def illegal_location_constraint(region: str) -> S3Error:
    return S3Error(
        400,
        "IllegalLocationConstraintException",
        f"The {region or 'unspecified'} location constraint is incompatible for the region specific endpoint this "
        "request was sent to.",
    )


def not_yours(bucket: str) -> S3Error:
    return S3Error(403, "AccessDenied", f"Bucket {bucket} does not belong to the expected owner.")


def access_denied(message: str) -> S3Error:
    return S3Error(403, "AccessDenied", message)


# Keys and objects


def precondition_failed(condition: str) -> S3Error:
    return S3Error(
        412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", Condition=condition
    )


def invalid_range(requested: str, size: int) -> S3Error:
    return S3Error(
        416,
        "InvalidRange",
        "The requested range is not satisfiable",
        RangeRequested=requested,
        ActualObjectSize=size,
    )


def copy_to_itself() -> S3Error:
    return S3Error(
        400,
        "InvalidRequest",
        "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
        "metadata, storage class, website redirect location or encryption attributes.",
    )


# Bodies


def incomplete_body() -> S3Error:
    return S3Error(
        400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header"
    )


def too_large(size: int, limit: int) -> S3Error:
    return S3Error(
        400,
        "EntityTooLarge",
        "Your proposed upload exceeds the maximum allowed size",
        ProposedSize=size,
        MaxSizeAllowed=limit,
    )


def message_too_long(limit: int) -> S3Error:
    return S3Error(400, "MaxMessageLengthExceeded", "Your request was too big.", MaxMessageLengthBytes=limit)


def chunk_signature_mismatch() -> S3Error:
    return S3Error(
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing "
        "method.",
    )


def malformed_xml() -> S3Error:
    return S3Error(
        400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema"
    )


def metadata_too_large(size: int, limit: int) -> S3Error:
    return S3Error(
        400,
        "MetadataTooLarge",
        "Your metadata headers exceed the maximum allowed metadata size",
        Size=size,
        MaxSizeAllowed=limit,
    )


# Requests


def invalid_argument(message: str, name: str, value: object) -> S3Error:
    return S3Error(400, "InvalidArgument", message, ArgumentName=name, ArgumentValue=str(value))


def not_latin(name: str, value: str) -> S3Error:
    """A header that cannot be sent. [reports]"""
    return invalid_argument("Header value cannot be represented using ISO-8859-1.", name, value)


def invalid_request(message: str) -> S3Error:
    return S3Error(400, "InvalidRequest", message)


def invalid_uri(path: str) -> S3Error:
    return S3Error(400, "InvalidURI", "Couldn't parse the specified URI.", URI=path)


def expired(when: str, now: str) -> S3Error:
    return S3Error(403, "AccessDenied", "Request has expired", Expires=when, ServerTime=now)


def not_implemented(what: str) -> S3Error:
    """Ours: says which operation or header it is."""
    return S3Error(501, "NotImplemented", f"localmme's S3 does not implement {what}.")


def method_not_allowed(method: str, resource: str) -> S3Error:
    return S3Error(
        405,
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
        Method=method,
        ResourceType=resource,
    )


def internal_error() -> S3Error:
    return S3Error(500, "InternalError", "We encountered an internal error. See the emulator's log.")
