"""The errors of invocations and of changes of an endpoint, in SageMaker's words.

Those seen in public reports are SageMaker's; those under "ours" are our own choice, because SageMaker's answer to the
same mistake is not public.
"""

from __future__ import annotations

from emulator.aws.arn import ACCOUNT_ID, logs_arn
from emulator.aws.errors import AwsError
from emulator.errors import EmulatorError
from emulator.events import Origin

MODEL_ERROR_CHARACTERS = 2048  # [api] the longest Message and OriginalMessage of a ModelError


class VolumeFull(EmulatorError):
    """The storage volume has no room for a model, not even without its unused models."""


class NotPossible(EmulatorError):
    """What an operator asks of an endpoint cannot be done, or not now; the message says why."""


class InstanceNotReached(EmulatorError):
    """Nothing of an invocation has reached a container of this instance: another one may take it.

    ``error`` is for when there is no other.
    """

    def __init__(self, error: AwsError) -> None:
        super().__init__(str(error))
        self.error = error


class ModelError(AwsError):
    """A container answered with an error, or not at all; status 0 = it gave no answer."""

    def __init__(self, origin: Origin, message: str, status: int, original_message: str) -> None:
        super().__init__(
            "ModelError",
            424,
            message,
            ErrorCode="CLIENT_ERROR_FROM_MODEL" if _is_client_error(status) else "INTERNAL_FAILURE_FROM_MODEL",
            OriginalStatusCode=status,
            OriginalMessage=original_message[:MODEL_ERROR_CHARACTERS],
            LogStreamArn=logs_arn(origin.region, _log_group(origin)),
        )


def target_model_missing(request_id: str) -> AwsError:
    return _invalid(f"Request {request_id} is missing a target model header.")


def target_model_not_supported(endpoint_name: str) -> AwsError:
    return AwsError(
        "ValidationError",
        400,
        f"Endpoint {endpoint_name} is not a multi-model endpoint and does not support target model header.",
        ErrorCode="TARGET_MODEL_HEADER_NOT_SUPPORTED",
    )


def container_failed(origin: Origin, status: int, message: str) -> ModelError:
    """A container's 4xx or 5xx answer to an invocation or a load; status 0 = it gave no answer."""
    region = origin.region
    log_url = (
        f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        f"#logEventViewer:group={_log_group(origin)}"
    )
    # The end of the sentence, with the log's address, has to fit as well.
    words = (
        f"Received {_blamed(status)} error ({status}) from {origin.container} with message "
        f'"{message[: MODEL_ERROR_CHARACTERS - 512]}". See {log_url} in account {ACCOUNT_ID} for more information.'
    )
    return ModelError(origin, words, status, message)


def container_too_slow(origin: Origin) -> ModelError:
    return container_failed(
        origin,
        0,
        f"Your invocation timed out while waiting for a response from container {origin.container}. Review the "
        "latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again.",
    )


def no_response(origin: Origin) -> ModelError:
    """The container ended, or dropped the connection, before it answered."""
    who = f"{origin.endpoint_name} endpoint" if origin.endpoint_name else f"{origin.container} container"
    return container_failed(
        origin,
        0,
        f"Amazon SageMaker could not get a response from the {who}. This can occur when CPU "
        "or memory utilization is high. To check your utilization, see Amazon CloudWatch. To fix this problem, use an "
        "instance type with more CPU capacity or memory.",
    )


def answer_too_long(origin: Origin, status: int) -> ModelError:
    """The answer is over the body limit, or broke off."""
    words = f"Received {_blamed(status)} error ({status}) from {origin.container} and could not load the entire"
    return ModelError(origin, f"{words} response body.", status, "")


def model_data_not_found(container: str, url: str) -> str:
    """The FailureReason of an endpoint whose model archive is not there."""
    return (
        f'Failed to download model data for container "{container}" from URL: "{url}". Please ensure that there is an '
        "object located at the URL and that the role passed to CreateModel has permissions to download the object."
    )


def model_data_broken(container: str, url: str) -> str:
    """The FailureReason of an endpoint whose model archive is invalid."""
    return (
        f'Failed to extract model data archive for container "{container}" from URL "{url}". Please ensure that the '
        "object located at the URL is a valid tar.gz archive."
    )


def ping_failed(origin: Origin) -> str:
    """The FailureReason of an endpoint with a container that does not get healthy, or ends before it is."""
    of_variant = f" for production variant {origin.variant_name}" if origin.variant_name else ""  # of a job, none
    return (
        f"The {origin.container} container{of_variant} did not pass the ping health check. Please check CloudWatch "
        f"logs for this {'endpoint' if origin.endpoint_name else 'job'}."
    )


# Ours: SageMaker's answer to these is not public.


def archive_unusable(target_model: str, reason: str) -> AwsError:
    return _invalid(f"Failed to extract model data archive {target_model}: {reason}")


def model_not_ready(target_model: str) -> AwsError:
    return AwsError(
        "ModelNotReadyException",
        429,
        f"Model {target_model} is not ready yet: it is still being downloaded or loaded. Please try again.",
    )


def no_room_on_volume(target_model: str, reason: str) -> AwsError:
    return _unavailable(f"No room on the storage volume for model {target_model}: {reason}")


def no_room_in_memory(target_model: str, seconds: float) -> AwsError:
    return _unavailable(f"Model {target_model} was not loaded: all models in memory were busy for {seconds:.3g} s.")


def endpoint_not_in_service(endpoint_name: str, status: str) -> AwsError:
    return _unavailable(f"Endpoint {endpoint_name} is {status}. It takes invocations when it is InService.")


def variant_not_found(endpoint_name: str, variant_name: str) -> AwsError:
    return _invalid(f"Variant {variant_name} not found for endpoint {endpoint_name}.")


def target_container_missing(endpoint_name: str) -> AwsError:
    return _invalid(
        f"Endpoint {endpoint_name} is configured for direct invocation: specify a target container hostname header."
    )


def target_container_not_found(endpoint_name: str, hostname: str, known: list[str]) -> AwsError:
    return _invalid(
        f"Target container hostname {hostname} not found for endpoint {endpoint_name}. It has: {', '.join(known)}."
    )


def target_container_not_supported(endpoint_name: str) -> AwsError:
    return _invalid(
        f"Endpoint {endpoint_name} is not configured for direct invocation and does not support "
        "target container hostname header."
    )


def inference_component_not_supported(endpoint_name: str) -> AwsError:
    return _invalid(f"Endpoint {endpoint_name} has no inference components.")


def session_not_found(endpoint_name: str, session_id: str) -> AwsError:
    return _invalid(
        f"Endpoint {endpoint_name} has no session {session_id}: it was never opened, was closed, has expired, or its "
        "instance is gone. Open one with SessionId NEW_SESSION."
    )


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", 400, message)


def _unavailable(message: str) -> AwsError:
    return AwsError("ServiceUnavailable", 503, message)


def _is_client_error(status: int) -> bool:
    return 400 <= status < 500


def _blamed(status: int) -> str:
    return "client" if _is_client_error(status) else "server"


def _log_group(origin: Origin) -> str:
    return f"/aws/sagemaker/Endpoints/{origin.endpoint_name}"
