"""Prepares a job whose container is the user's own script: brings its code, and says what runs it."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable

from emulator.archives.errors import ArchiveNotFound
from emulator.archives.extraction import extract
from emulator.archives.model_data_url import ModelData
from emulator.archives.source_selection import source_of_one
from emulator.aws.errors import AwsError
from emulator.containers.launch import Command
from emulator.containers.process.kept_process import PACKAGE_ROOT
from emulator.errors import ArchiveError, SetupError
from emulator.jobs.errors import JobFailed
from emulator.jobs.ml_directory import MlDirectory
from emulator.jobs.model_trainer import drivers_command, is_of_model_trainer
from emulator.jobs.script_mode.entry_point import PROGRAM, SUBMIT_DIRECTORY
from emulator.jobs.training_definition import Script, TrainingDefinition

RUNNER = "emulator.jobs.script_mode"
MOST_FILES = 100_000  # [ours] of the code
USE_AN_IMAGE = "Run an image, or a command, in place of the job's image."
# Hyperparameters by which the SDK has frameworks start several processes for one entry point.
DISTRIBUTION = re.compile(r"sagemaker_(?!parameter_server)\w+_enabled")
# Where an object of S3 is. Raises SetupError.
LocateObject = Callable[[str], ModelData]


def script_command(job: TrainingDefinition, script: Script, directory: MlDirectory, locate: LocateObject) -> Command:
    """What runs the job's entry point, once its code is in its directory. Blocks. Raises JobFailed."""
    if job.entrypoint and is_of_model_trainer(job):
        try:
            return drivers_command(job, script.python, directory)
        except ValueError as error:
            raise _failed(str(error)) from None
    if job.entrypoint:
        raise _failed(f"ContainerEntrypoint names a program of the image, which does not run here. {USE_AN_IMAGE}")
    values = {name: _parsed(value) for name, value in job.hyperparameters.items()}
    if distribution := next((name for name in values if DISTRIBUTION.fullmatch(name) and values[name] is True), None):
        raise _failed(f"{distribution}: a script runs as one process here. {USE_AN_IMAGE}")
    url = values.get(SUBMIT_DIRECTORY)
    if not isinstance(values.get(PROGRAM), str) or not isinstance(url, str):
        raise _failed(
            f"there is no script to run: the hyperparameters {PROGRAM} and {SUBMIT_DIRECTORY} name none, as the SDK's "
            f"estimators of frameworks do with entry_point. {USE_AN_IMAGE}"
        )
    _bring_code(url, directory, locate, job.volume_bytes)
    return Command([sys.executable, "-m", RUNNER, os.fspath(script.python)], PACKAGE_ROOT)


def _bring_code(url: str, directory: MlDirectory, locate: LocateObject, max_bytes: int) -> None:
    if not url.startswith("s3://"):
        raise _failed(f"{SUBMIT_DIRECTORY} is {url}, a place in the image, which does not run here. {USE_AN_IMAGE}")
    try:
        source, name = source_of_one(locate(url))
        with source.open(name) as (archive, _):
            extract(archive, directory.code, max_bytes=max_bytes, max_files=MOST_FILES)
    except (ArchiveNotFound, SetupError):
        raise _failed(f"there is no source code at {url}") from None
    except (ArchiveError, AwsError) as error:
        raise _failed(f"the source code at {url} cannot be used: {error}") from None
    except OSError as error:
        raise _failed(f"the source code at {url} cannot be extracted: {error.strerror}") from None


def _parsed(value: str) -> object:
    """A hyperparameter's value: version 2 of the SDK writes JSON."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _failed(why: str) -> JobFailed:
    return JobFailed(f"AlgorithmError: Framework Error: {why}")
