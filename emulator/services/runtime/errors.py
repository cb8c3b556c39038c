"""The errors of SageMaker Runtime itself. Those of an invocation under way are in hosting's errors.

Those seen in public reports are in SageMaker's words; those under "ours" are our own choice, because SageMaker's answer
to the same mistake is not public.
"""

from __future__ import annotations

from emulator.aws.arn import ACCOUNT_ID
from emulator.aws.errors import AwsError


def endpoint_not_found(endpoint_name: str) -> AwsError:
    return _invalid(f"Endpoint {endpoint_name} of account {ACCOUNT_ID} not found.")


def body_too_long(limit: int) -> AwsError:
    """Refused before SageMaker Runtime sees it, so that it has no code. [reports]"""
    return AwsError("", 413, f"HTTP content length exceeded {limit} bytes.")


def throttled() -> AwsError:
    """There is no message. [reports]"""
    return AwsError("ThrottlingException", 400, "")


def stream_too_slow(container: str) -> str:
    """What is said in a stream that has lasted for as long as one may."""
    return f"Your model {container} did not complete sending the inference response in the allotted time."


def member_invalid(member: str, value: str, constraint: str) -> AwsError:
    """A request member breaks a constraint of the API's own model (AWS's common wording)."""
    return _invalid(
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
    )


# Ours: SageMaker's answer to these is not public.


def internal_failure() -> AwsError:
    return AwsError("InternalFailure", 500, "The emulator failed; see its log.")


def body_incomplete(size: int) -> AwsError:
    return _invalid(f"The request body ended after {size} bytes, before it was complete.")


def endpoint_not_asynchronous(endpoint_name: str) -> AwsError:
    return _invalid(f"Endpoint {endpoint_name} is not an asynchronous endpoint. Use InvokeEndpoint instead.")


def explanations_not_computed() -> AwsError:
    return _invalid(
        "EnableExplanations is not emulated by localmme: no explanations are computed. Leave it out, or give `false`."
    )


def prefix_aware_routing_not_emulated() -> AwsError:
    return _invalid("PrefixAwareId is not emulated by localmme: routing is not aware of prefixes. Leave it out.")


def operation_not_emulated(operation: str) -> AwsError:
    return _unknown_operation(
        f"{operation} is not emulated by localmme. Use InvokeEndpoint or InvokeEndpointWithResponseStream."
    )


def unknown_operation(method: str, path: str) -> AwsError:
    return _unknown_operation(
        f"No operation of SageMaker Runtime is {method} {path}. Invoke an endpoint by POST /endpoints/NAME/invocations."
    )


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", 400, message)


def _unknown_operation(message: str) -> AwsError:
    return AwsError("UnknownOperationException", 404, message)
