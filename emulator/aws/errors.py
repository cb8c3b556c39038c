"""An error of an AWS service. ``protocols`` writes it in the form of each service's protocol."""

from __future__ import annotations

from emulator.errors import EmulatorError
from emulator.open_files import too_many


class AwsError(EmulatorError):
    """An error as a service answers with it; ``fields`` are the further members that its shape has.

    Each service has a module ``errors`` with its words: functions that return one. A subclass is for what is caught
    by its class.
    """

    def __init__(self, code: str, status: int, message: str, **fields: str | int) -> None:
        """``code`` is what SDKs choose an exception's class by; without one, it is not an error of the service's own
        but of what stands before it."""
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message
        self.fields = fields


def not_serializable(message: str) -> AwsError:
    """A body that a service of JSON cannot read, or could read in more than one way. [api]"""
    return AwsError("SerializationException", 400, message)


def too_many_open_files() -> AwsError:
    """The emulator may open no file and no connection more. [api] the code, of all services"""
    return AwsError("ServiceUnavailable", 503, f"{too_many()}.")
