"""The errors of the control plane, in SageMaker's words where they are public.

Sources: [reports] public reports; [ours] where SageMaker's words are not known.
"""

from __future__ import annotations

from emulator.aws.errors import AwsError


def validation_error(message: str) -> AwsError:
    """SageMaker's error for most invalid requests, also for what does not exist."""
    return AwsError("ValidationException", 400, message)


NOUNS = {"model": "model", "endpoint-config": "endpoint configuration", "endpoint": "endpoint"}


def not_found(kind: str, arn: str) -> AwsError:
    return validation_error(f'Could not find {NOUNS[kind]} "{arn}".')  # [reports]


def job_not_found() -> AwsError:
    return validation_error("Requested resource not found.")  # [reports]


def job_exists(noun: str, arn: str) -> AwsError:
    """[reports] of training jobs. ``noun`` is the kind of job, in lower case."""
    return AwsError(
        "ResourceInUse",
        400,
        f"{noun.capitalize()} names must be unique within an AWS account and region, and a {noun} with this name "
        f"already exists ({arn})",
    )


def job_has_ended(noun: str, status: str) -> AwsError:
    return validation_error(f"The request was rejected because the {noun} is in status {status}.")  # [reports]


def job_under_way(noun: str, status: str) -> AwsError:
    return validation_error(f"The {noun} cannot be deleted because it is in status {status}: stop it first.")  # [ours]


def no_input_data(url: str, bucket: str, region: str, role: str) -> AwsError:
    """[reports]"""
    return validation_error(
        f'No S3 objects found under S3 URL "{url}" given in input data source. Please ensure that the bucket exists in '
        f'the selected region ({region}), that objects exist under that S3 prefix, and that the role "{role}" has '
        f'"s3:ListBucket" permissions on bucket "{bucket}".'
    )


def not_of_batch(what: str) -> AwsError:
    """[reports] of ModelDataSource."""
    return validation_error(
        f"SageMaker Batch currently doesn't support Model entity with container definitions which use {what}."
    )


def jobs_need_s3() -> AwsError:
    """[ours]"""
    return validation_error(
        "This emulator has no S3, from which a job could get its data, and in which it could store what it makes: "
        "start it with --s3 DIRECTORY."
    )


def named_job_not_found(name: str) -> AwsError:
    return validation_error(f"Could not find requested job with name: {name}.")  # [reports]


def resource_not_found(name: str) -> AwsError:
    return AwsError("ResourceNotFound", 400, f'Could not find "{name}".')  # [ours] The words.


def already_exists(kind: str, arn: str) -> AwsError:
    return validation_error(f'Cannot create already existing {NOUNS[kind]} "{arn}".')  # [reports]


def in_progress(arn: str) -> AwsError:
    """Also the error for deleting an endpoint in progress."""
    return validation_error(f'Cannot update in-progress endpoint "{arn}".')  # [reports]


def failed_endpoint(arn: str) -> AwsError:
    return validation_error(f'Cannot update failed endpoint "{arn}".')  # [ours]


def variants_not_found(names: list[str], config_name: str) -> AwsError:
    quoted = ", ".join(f'"{name}"' for name in names)
    return validation_error(
        f'The variant name(s) {quoted} is/are not present within endpoint configuration "{config_name}".'  # [reports]
    )


def variant_repeated(name: str) -> AwsError:
    return validation_error(f'The variant name "{name}" was non-unique within the request.')  # [reports]


def scaled_to_zero(name: str) -> AwsError:
    """[dg] Only endpoints with inference components can be. [ours] The words."""
    return validation_error(
        f'The variant "{name}" needs at least one instance: only endpoints with inference components, which localmme '
        "does not emulate, can be scaled to zero."
    )


def quota_exceeded(instance_type: str, quota: int, used: int, more: int) -> AwsError:
    """[reports] The last sentence is ours."""
    return AwsError(
        "ResourceLimitExceeded",
        400,
        f"The account-level service limit '{instance_type} for endpoint usage' is {quota} Instances, with current "
        f"utilization of {used} Instances and a request delta of {more} Instances. "
        "localmme serve --limit instances_of_a_type=N sets it.",
    )


def model_data_not_found(url: str) -> str:
    return f"Could not find model data at {url}."  # [reports]


def model_data_no_prefix(url: str, prefix: str) -> str:
    """The ModelDataUrl of a multi-model container names an archive instead of a prefix. [ours]"""
    return (
        f"names an object, {url}. With Mode MultiModel it is the prefix below which the archives are, such as "
        f"{prefix}; TargetModel then names the archive."
    )


def not_with_multi_model(member: str) -> AwsError:
    """[dg] A member that an endpoint with a multi-model container cannot have. [ours] The words."""
    return validation_error(f"MultiModel mode is not supported when specifying {member}.")


def not_with_several_containers(member: str) -> AwsError:
    """[dg] A member that a pipeline cannot have. [ours] The words."""
    return validation_error(f"Models with multiple containers are not supported when specifying {member}.")


def not_emulated(operation: str) -> AwsError:
    return AwsError(
        "UnknownOperationException",
        400,
        f"{operation} is an operation of SageMaker that localmme does not emulate. It emulates hosting: models, "
        "endpoint configurations, endpoints and their tags; training jobs and transform jobs.",
    )


def unknown_operation(name: str) -> AwsError:
    return AwsError("UnknownOperationException", 400, f"{name or 'This'} is not an operation of SageMaker.")


def no_local_code() -> AwsError:
    """[ours] On SageMaker, a model runs on its own instance."""
    return AwsError(
        "AccessDeniedException",
        400,
        "The Image of a model would run on this machine, and this emulator does not allow that through the API: it was "
        "started with --no-local-code, or other machines can reach it. To allow it, start the emulator with "
        "--local-code; or serve the model from the command line: localmme serve --help.",
    )


def no_code_of_containers() -> AwsError:
    """[ours]"""
    return AwsError(
        "AccessDeniedException",
        400,
        "A Docker container may not create models or jobs here: their Image may be a command, which would run outside "
        "of it, and their Environment may be read by one.",
    )


def bad_token() -> AwsError:
    return validation_error("The NextToken is invalid for this list.")  # [ours]


def not_kept(reason: str) -> AwsError:
    return failed(f"The emulator cannot write to its state directory: {reason}. Nothing has changed.")


def failed(message: str) -> AwsError:
    """Not the caller's fault."""
    return AwsError("InternalFailure", 500, message)


def ending() -> AwsError:
    """[api] The code, of all services."""
    return AwsError("ServiceUnavailable", 503, "The emulator is ending.")
