"""The errors that any room of the emulator may raise. Others are in the room that raises them.

EmulatorError
├── SetupError                     what the user wants cannot work; the message says what to do
├── ArchiveError                   a model archive that cannot be read, or is not safe to extract
├── ContainerError                 a container did not start, died, hung, or its answer was invalid
│   ├── ContainerTimeout           it did not answer in time
│   ├── TooManyOpenFiles           the emulator can open no connection to it
│   └── ContainerUnreachable       it drops a connection
│       └── ContainerNotReached    it accepts none: nothing was sent to it
├── aws.errors.AwsError            the error with which an AWS service answers a request
└── storage.errors.StorageError    an error of the directory that stands for S3
"""

from __future__ import annotations


class EmulatorError(Exception):
    """The root of the tree."""


class SetupError(EmulatorError):
    """What the user wants cannot work. The message says what to do, one line for each problem."""

    exit_code = 1  # of the command that it ends


class ArchiveError(EmulatorError):
    """A model archive that cannot be read, or that is not safe to extract."""


class ContainerError(EmulatorError):
    """A container did not start, died, hung, or its answer was invalid."""


class ContainerTimeout(ContainerError):
    """A container did not answer in time."""


class TooManyOpenFiles(ContainerError):
    """The emulator may open no connection more. The message says what to do."""


class ContainerUnreachable(ContainerError):
    """A container dropped a connection in the middle of a call."""


class ContainerNotReached(ContainerUnreachable):
    """A container accepts no connection, so that nothing was sent to it."""
