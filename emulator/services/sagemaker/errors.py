"""What the control plane refuses, in SageMaker's words where they are public.

Sources: [gh] public reports; [ours] where SageMaker's words are not known.
"""

from __future__ import annotations

import json

from emulator.errors import EmulatorError

VALIDATION = "ValidationException"


class ControlPlaneError(EmulatorError):
    """An error of the SageMaker API, as it goes on the wire."""

    def __init__(self, message: str, code: str = VALIDATION, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status

    def body(self) -> bytes:
        """The JSON body of the answer."""
        return json.dumps({"__type": self.code, "message": str(self)}).encode()


NOUNS = {"model": "model", "endpoint-config": "endpoint configuration", "endpoint": "endpoint"}


def not_found(kind: str, arn: str) -> ControlPlaneError:
    return ControlPlaneError(f'Could not find {NOUNS[kind]} "{arn}".')  # [gh]


def resource_not_found(name: str) -> ControlPlaneError:
    return ControlPlaneError(f'Could not find "{name}".', "ResourceNotFound")  # [ours] The words.


def already_exists(kind: str, arn: str) -> ControlPlaneError:
    return ControlPlaneError(f'Cannot create already existing {NOUNS[kind]} "{arn}".')  # [gh]


def in_progress(arn: str) -> ControlPlaneError:
    """Also of what is to be deleted."""
    return ControlPlaneError(f'Cannot update in-progress endpoint "{arn}".')  # [gh]


def failed_endpoint(arn: str) -> ControlPlaneError:
    return ControlPlaneError(f'Cannot update failed endpoint "{arn}".')  # [ours]


def variants_not_found(names: list[str], config_name: str) -> ControlPlaneError:
    quoted = ", ".join(f'"{name}"' for name in names)
    return ControlPlaneError(
        f'The variant name(s) {quoted} is/are not present within endpoint configuration "{config_name}".'  # [gh]
    )


def variant_repeated(name: str) -> ControlPlaneError:
    return ControlPlaneError(f'The variant name "{name}" was non-unique within the request.')  # [gh]


def scaled_to_zero(name: str) -> ControlPlaneError:
    """[dg] Only endpoints with inference components can be. [ours] The words."""
    return ControlPlaneError(
        f'The variant "{name}" needs at least one instance: only endpoints with inference components, which localmme '
        "does not emulate, can be scaled to zero."
    )


def quota_exceeded(instance_type: str, quota: int, used: int, more: int) -> ControlPlaneError:
    """[gh] The last sentence is ours."""
    return ControlPlaneError(
        f"The account-level service limit '{instance_type} for endpoint usage' is {quota} Instances, with current "
        f"utilization of {used} Instances and a request delta of {more} Instances. "
        "localmme serve --limit instances_of_a_type=N sets it.",
        "ResourceLimitExceeded",
    )


def model_data_not_found(url: str) -> str:
    return f"Could not find model data at {url}."  # [gh]


def model_data_no_prefix(url: str, prefix: str) -> str:
    """The ModelDataUrl of a multi-model container names an archive instead of a prefix. [ours]"""
    return (
        f"names an object, {url}. With Mode MultiModel it is the prefix below which the archives are, such as "
        f"{prefix}; TargetModel then names the archive."
    )


def not_with_multi_model(member: str) -> ControlPlaneError:
    """[dg] What an endpoint with a multi-model container cannot be. [ours] The words."""
    return ControlPlaneError(f"MultiModel mode is not supported when specifying {member}.")


def not_with_several_containers(member: str) -> ControlPlaneError:
    """[dg] What a pipeline cannot be. [ours] The words."""
    return ControlPlaneError(f"Models with multiple containers are not supported when specifying {member}.")


def not_emulated(operation: str) -> ControlPlaneError:
    return ControlPlaneError(
        f"{operation} is an operation of SageMaker that localmme does not emulate. It emulates hosting: models, "
        "endpoint configurations, endpoints and their tags.",
        "UnknownOperationException",
    )


def unknown_operation(name: str) -> ControlPlaneError:
    return ControlPlaneError(f"{name or 'This'} is not an operation of SageMaker.", "UnknownOperationException")


def not_serializable(message: str) -> ControlPlaneError:
    return ControlPlaneError(message, "SerializationException")


def no_local_code() -> ControlPlaneError:
    """[ours] On SageMaker, a model runs on its own instance."""
    return ControlPlaneError(
        "The Image of a model would run on this machine, which this emulator does not let the API do: it was started "
        "with --no-local-code, or others than this machine reach it. Start it with --local-code to allow it, or serve "
        "the model from the command line: localmme serve --help.",
        "AccessDeniedException",
    )


def bad_token() -> ControlPlaneError:
    return ControlPlaneError("The NextToken is invalid for this list.")  # [ours]


def not_kept(reason: str) -> ControlPlaneError:
    return failed(f"The emulator cannot write to its state directory: {reason}. Nothing has changed.")


def failed(message: str) -> ControlPlaneError:
    """Not the caller's fault."""
    return ControlPlaneError(message, "InternalFailure", 500)
