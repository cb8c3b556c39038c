"""S3's errors: the code, status and words of each; those of the storage are in storage_errors. [api]"""

from __future__ import annotations

from emulator.aws.errors import AwsError


class NotModified(AwsError):
    """304: the caller's copy is still valid. It has no body, but the object's headers."""

    def __init__(self, headers: list[tuple[str, str]]) -> None:
        super().__init__("NotModified", 304, "Not Modified")
        self.headers = headers


# Buckets


def invalid_location_constraint(region: str) -> AwsError:
    return AwsError(
        "InvalidLocationConstraint", 400, "The specified location-constraint is not valid", LocationConstraint=region
    )


def illegal_location_constraint(region: str) -> AwsError:
    return AwsError(
        "IllegalLocationConstraintException",
        400,
        f"The {region or 'unspecified'} location constraint is incompatible for the region specific endpoint this "
        "request was sent to.",
    )


def not_yours(bucket: str) -> AwsError:
    return AwsError("AccessDenied", 403, f"Bucket {bucket} does not belong to the expected owner.")


# Keys and objects


def precondition_failed(condition: str) -> AwsError:
    return AwsError(
        "PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold", Condition=condition
    )


def invalid_range(requested: str, size: int) -> AwsError:
    return AwsError(
        "InvalidRange",
        416,
        "The requested range is not satisfiable",
        RangeRequested=requested,
        ActualObjectSize=size,
    )


def copy_to_itself() -> AwsError:
    return AwsError(
        "InvalidRequest",
        400,
        "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
        "metadata, storage class, website redirect location or encryption attributes.",
    )


# Bodies


def incomplete_body() -> AwsError:
    return AwsError(
        "IncompleteBody", 400, "You did not provide the number of bytes specified by the Content-Length HTTP header"
    )


def too_large(size: int, limit: int) -> AwsError:
    return AwsError(
        "EntityTooLarge",
        400,
        "Your proposed upload exceeds the maximum allowed size",
        ProposedSize=size,
        MaxSizeAllowed=limit,
    )


def message_too_long(limit: int) -> AwsError:
    return AwsError("MaxMessageLengthExceeded", 400, "Your request was too big.", MaxMessageLengthBytes=limit)


def chunk_signature_mismatch() -> AwsError:
    return AwsError(
        "SignatureDoesNotMatch",
        403,
        "The request signature we calculated does not match the signature you provided. Check your key and signing "
        "method.",
    )


def malformed_xml() -> AwsError:
    return AwsError(
        "MalformedXML", 400, "The XML you provided was not well-formed or did not validate against our published schema"
    )


def metadata_too_large(size: int, limit: int) -> AwsError:
    return AwsError(
        "MetadataTooLarge",
        400,
        "Your metadata headers exceed the maximum allowed metadata size",
        Size=size,
        MaxSizeAllowed=limit,
    )


# Requests


def invalid_argument(message: str, name: str, value: object) -> AwsError:
    return AwsError("InvalidArgument", 400, message, ArgumentName=name, ArgumentValue=str(value))


def not_latin(name: str, value: str) -> AwsError:
    """A header that cannot be sent. [reports]"""
    return invalid_argument("Header value cannot be represented using ISO-8859-1.", name, value)


def invalid_request(message: str) -> AwsError:
    return AwsError("InvalidRequest", 400, message)


def invalid_uri(path: str) -> AwsError:
    return AwsError("InvalidURI", 400, "Couldn't parse the specified URI.", URI=path)


def expired(when: str, now: str) -> AwsError:
    return AwsError("AccessDenied", 403, "Request has expired", Expires=when, ServerTime=now)


def not_implemented(feature: str) -> AwsError:
    """[ours] ``feature`` is the operation or header."""
    return AwsError("NotImplemented", 501, f"localmme's S3 does not implement {feature}.")


def method_not_allowed(method: str, resource: str) -> AwsError:
    return AwsError(
        "MethodNotAllowed",
        405,
        "The specified method is not allowed against this resource.",
        Method=method,
        ResourceType=resource,
    )


def internal_error() -> AwsError:
    return AwsError("InternalError", 500, "We encountered an internal error. See the emulator's log.")
