"""Everything that can go wrong, as one tree, and the words SageMaker uses for it.

EmulatorError
├── SetupError                     what the user asked for cannot work; the message says what to do
├── ArchiveError                   a model archive that cannot be read, or is not safe to extract
├── VolumeFull                     the storage volume has no room, not even without its unused models
├── ContainerError                 a container did not start, died, hung or answered garbage
│   ├── ContainerTimeout           it did not answer in time
│   └── ContainerUnreachable       it drops a connection
│       └── ContainerNotReached    it accepts none: nothing was sent to it
├── InstanceNotReached             an invocation has not begun: another instance may take it
└── AwsError                       an error of the SageMaker Runtime API, as it goes on the wire
    ├── ValidationError            400
    ├── ModelError                 424
    ├── ModelNotReadyException     429
    ├── InternalFailure            500
    ├── ServiceUnavailable         503
    ├── InternalDependencyException  530
    ├── UnknownOperationException  404
    ├── ContentTooLong             413, which has no code
    └── ThrottlingException        400, which has no message

The wordings are together at the end of the module, so that they are easy to correct. Those seen in
public reports are SageMaker's; those under "ours" are documented as our own choice, because
SageMaker's answer to the same mistake is not public.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from emulator.aws.arn import ACCOUNT_ID, logs_arn


class EmulatorError(Exception):
    """The root of the tree."""


class SetupError(EmulatorError):
    """What the user asked for cannot work; the message says what to do, in one line for each thing."""

    exit_code = 1  # of the command that it ends


class ArchiveError(EmulatorError):
    """A model archive that cannot be read, or that is not safe to extract."""


class VolumeFull(EmulatorError):
    """The storage volume has no room for a model, not even without its unused models."""


class ContainerError(EmulatorError):
    """A container did not start, died, hung or answered garbage."""


class ContainerTimeout(ContainerError):
    """A container did not answer in time."""


class ContainerUnreachable(ContainerError):
    """A container dropped a connection in the middle of a call."""


class ContainerNotReached(ContainerUnreachable):
    """A container accepts no connection, so that nothing was sent to it."""


class InstanceNotReached(EmulatorError):
    """Nothing of an invocation has reached a container of this instance; ``error`` is for when there is no other."""

    def __init__(self, error: AwsError) -> None:
        super().__init__(str(error))
        self.error = error


class AwsError(EmulatorError):
    """An error of the SageMaker Runtime API. The class name is the error's code on the wire."""

    status = 500

    def __init__(self, message: str, **fields: str | int) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    @property
    def code(self) -> str:
        """The error code: botocore picks the exception class by it."""
        return type(self).__name__

    def body(self) -> bytes:
        """The JSON body: ``Message`` and the fields that this error's shape has beside it."""
        return json.dumps({"Message": self.message, **self.fields}).encode()


class ValidationError(AwsError):
    status = 400


class ModelError(AwsError):
    status = 424


class ModelNotReadyException(AwsError):
    status = 429


class InternalFailure(AwsError):
    status = 500


class ServiceUnavailable(AwsError):
    status = 503


class InternalDependencyException(AwsError):
    status = 530


class UnknownOperationException(AwsError):
    status = 404


class ContentTooLong(AwsError):
    """Refused before SageMaker Runtime sees it, so that it has neither a code nor the form of its errors. [reports]"""

    status = 413

    @property
    def code(self) -> str:
        return ""

    def body(self) -> bytes:
        return json.dumps({"message": self.message}).encode()


class ThrottlingException(AwsError):
    """Its code is in the header only, and there is no message. [reports]"""

    status = 400

    def body(self) -> bytes:
        return b'{"message": null}'


# SageMaker's wordings, as seen in public reports.


def endpoint_not_found(endpoint_name: str) -> ValidationError:
    return ValidationError(f"Endpoint {endpoint_name} of account {ACCOUNT_ID} not found.")


def target_model_missing(request_id: str) -> ValidationError:
    return ValidationError(f"Request {request_id} is missing a target model header.")


def target_model_not_supported(endpoint_name: str) -> ValidationError:
    return ValidationError(
        f"Endpoint {endpoint_name} is not a multi-model endpoint and does not support target model header.",
        ErrorCode="TARGET_MODEL_HEADER_NOT_SUPPORTED",
    )


def archive_not_found(bucket: str, key: str) -> ValidationError:
    return ValidationError(
        f"Failed to download model data(bucket: {bucket}, key: {key}). Please ensure that there is an object "
        "located at the URL and that the role passed to CreateModel has permissions to download the model."
    )


def body_too_long(limit: int) -> ContentTooLong:
    return ContentTooLong(f"HTTP content length exceeded {limit} bytes.")


def throttled() -> ThrottlingException:
    return ThrottlingException("Rate exceeded")


def stream_too_slow(container: str) -> str:
    """What is said in a stream that has lasted for as long as one may."""
    return f"Your model {container} did not complete sending the inference response in the allotted time."


def container_failed(origin: Origin, status: int, message: str) -> ModelError:
    """A container's 4xx or 5xx answer to an invocation or a load; status 0 = it gave no answer."""
    # The end of the sentence, with the log's address, has to fit as well.
    return _model_error(origin, status, f' with message "{message[: MODEL_ERROR_CHARACTERS - 512]}"', message)


def words_of(body: str) -> str:
    """What a container says in the body of an error: the message in it, if it is Multi Model Server's JSON."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.strip()


def refusal_explained(status: int, message: str) -> ContainerError:
    """Ours, for the log: why a container refuses a load."""
    if status != 405:
        return ContainerError(f"the container answered {status}: {words_of(message) or 'nothing'}")
    return ContainerError(
        f"POST /models answered 405 {' '.join(message.split())}: the container does not let models be loaded. "
        "TorchServe does with TS_ENABLE_MODEL_API=true in its environment (--env, or the model's Environment)"
    )


def container_too_slow(origin: Origin) -> ModelError:
    return container_failed(
        origin,
        0,
        f"Your invocation timed out while waiting for a response from container {origin.container}. Review the "
        "latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again.",
    )


def no_response(origin: Origin) -> ModelError:
    """The container ended, or dropped the connection, before it answered."""
    return container_failed(
        origin,
        0,
        f"Amazon SageMaker could not get a response from the {origin.endpoint_name} endpoint. This can occur when CPU "
        "or memory utilization is high. To check your utilization, see Amazon CloudWatch. To fix this problem, use an "
        "instance type with more CPU capacity or memory.",
    )


def label_missing(image: str, label: str) -> str:
    """What CreateModel says of an image without a capability that the model needs."""
    return f"Your Ecr Image {image} does not contain required {label} Docker label(s)."


def model_data_not_found(container: str, url: str) -> str:
    """The FailureReason of an endpoint whose model archive is not there."""
    return (
        f'Failed to download model data for container "{container}" from URL: "{url}". Please ensure that there is an '
        "object located at the URL and that the role passed to CreateModel has permissions to download the object."
    )


def model_data_broken(container: str, url: str) -> str:
    """The FailureReason of an endpoint whose model archive is none."""
    return (
        f'Failed to extract model data archive for container "{container}" from URL "{url}". Please ensure that the '
        "object located at the URL is a valid tar.gz archive."
    )


def ping_failed(origin: Origin) -> str:
    """The FailureReason of an endpoint with a container that does not get healthy, or ends before it is."""
    return (
        f"The {origin.container} container for production variant {origin.variant_name} did not pass the ping health "
        "check. Please check CloudWatch logs for this endpoint."
    )


def answer_too_long(origin: Origin, status: int) -> ModelError:
    """The answer is over the body limit, or broke off."""
    error = _model_error(origin, status, "", "")
    blame = "client" if 400 <= status < 500 else "server"
    error.message = (
        f"Received {blame} error ({status}) from {origin.container} and could not load the entire response body."
    )
    return error


MODEL_ERROR_CHARACTERS = 2048  # [api] the longest Message and OriginalMessage of a ModelError


@dataclass(frozen=True)
class Origin:
    """Who an error or an event is about. Without names below the endpoint's, it is the endpoint itself."""

    endpoint_name: str
    region: str
    variant_name: str = ""
    instance_id: str = ""
    container: str = ""


def _model_error(origin: Origin, status: int, details: str, message: str) -> ModelError:
    blame, error_code = (
        ("client", "CLIENT_ERROR_FROM_MODEL") if 400 <= status < 500 else ("server", "INTERNAL_FAILURE_FROM_MODEL")
    )
    region, group = origin.region, f"/aws/sagemaker/Endpoints/{origin.endpoint_name}"
    log_url = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}#logEventViewer:group={group}"
    return ModelError(
        f"Received {blame} error ({status}) from {origin.container}{details}. "
        f"See {log_url} in account {ACCOUNT_ID} for more information.",
        ErrorCode=error_code,
        OriginalStatusCode=status,
        OriginalMessage=message[:MODEL_ERROR_CHARACTERS],
        LogStreamArn=logs_arn(region, group),
    )


def member_invalid(member: str, value: str, constraint: str) -> ValidationError:
    """A request member breaks a constraint of the API's own model (AWS's common wording)."""
    return ValidationError(
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
    )


# Ours: SageMaker's answer to these is not public.


def archive_unusable(target_model: str, reason: str) -> ValidationError:
    return ValidationError(f"Failed to extract model data archive {target_model}: {reason}")


def body_incomplete(size: int) -> ValidationError:
    return ValidationError(f"The request body ended after {size} bytes, before it was complete.")


def model_not_ready(target_model: str) -> ModelNotReadyException:
    return ModelNotReadyException(
        f"Model {target_model} is not ready yet: it is still being downloaded or loaded. Please try again."
    )


def no_room_on_volume(target_model: str, reason: str) -> ServiceUnavailable:
    return ServiceUnavailable(f"No room on the storage volume for model {target_model}: {reason}")


def endpoint_not_in_service(endpoint_name: str, status: str) -> ServiceUnavailable:
    return ServiceUnavailable(f"Endpoint {endpoint_name} is {status}. It takes invocations when it is InService.")


def endpoint_not_asynchronous(endpoint_name: str) -> ValidationError:
    return ValidationError(f"Endpoint {endpoint_name} is not an asynchronous endpoint. Use InvokeEndpoint instead.")


def variant_not_found(endpoint_name: str, variant_name: str) -> ValidationError:
    return ValidationError(f"Variant {variant_name} not found for endpoint {endpoint_name}.")


def target_container_missing(endpoint_name: str) -> ValidationError:
    return ValidationError(
        f"Endpoint {endpoint_name} is configured for direct invocation: specify a target container hostname header."
    )


def target_container_not_found(endpoint_name: str, hostname: str, known: list[str]) -> ValidationError:
    return ValidationError(
        f"Target container hostname {hostname} not found for endpoint {endpoint_name}. It has: {', '.join(known)}."
    )


def target_container_not_supported(endpoint_name: str) -> ValidationError:
    return ValidationError(
        f"Endpoint {endpoint_name} is not configured for direct invocation and does not support "
        "target container hostname header."
    )


def inference_component_not_supported(endpoint_name: str) -> ValidationError:
    return ValidationError(f"Endpoint {endpoint_name} has no inference components.")


def session_not_found(endpoint_name: str, session_id: str) -> ValidationError:
    return ValidationError(
        f"Endpoint {endpoint_name} has no session {session_id}: it was never opened, was closed, has expired, or its "
        "instance is gone. Open one with SessionId NEW_SESSION."
    )


def explanations_not_computed() -> ValidationError:
    return ValidationError(
        "EnableExplanations is not emulated by localmme: no explanations are computed. Leave it out, or give `false`."
    )


def prefix_aware_routing_not_emulated() -> ValidationError:
    return ValidationError("PrefixAwareId is not emulated by localmme: routing is not aware of prefixes. Leave it out.")


def operation_not_emulated(operation: str) -> UnknownOperationException:
    return UnknownOperationException(
        f"{operation} is not emulated by localmme. Use InvokeEndpoint or InvokeEndpointWithResponseStream."
    )


def unknown_operation(method: str, path: str) -> UnknownOperationException:
    return UnknownOperationException(
        f"No operation of SageMaker Runtime is {method} {path}. Invoke an endpoint by POST /endpoints/NAME/invocations."
    )
