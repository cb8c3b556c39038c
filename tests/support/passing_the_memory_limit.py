"""What callers see of a container of one process that passes its memory: the same of an image and of a command."""

from __future__ import annotations

from pathlib import Path

from tests.support.aws_clients import refused
from tests.support.emulator_process import RunningEmulator
from tests.support.scripted_models import scripted_model
from tests.support.waiting import eventually

MEMORY = ("--memory", "150MB")
NO_RESPONSE = "could not get a response from the local endpoint"


def write_models(bucket: Path) -> None:
    """A small one; one that takes too much when it is loaded, and one that does so when it is invoked."""
    scripted_model(bucket / "small", "I am small")
    scripted_model(bucket / "large", load={"megabytes": 400})
    scripted_model(bucket / "greedy", invoke={"megabytes": 400, "until": str(bucket / "never")})


def assert_the_container_is_replaced(emulator: RunningEmulator, ended: str) -> None:
    """Invoke them; ``ended`` is what the log says of the end of each run."""
    for times, name in enumerate(("large", "greedy"), 1):
        assert emulator.invoke("small")["answer"] == "I am small"
        response = refused(emulator.invoke, name).response
        assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 0)
        assert NO_RESPONSE in response["Error"]["Message"]
        eventually(lambda: emulator.container()["restarts"] == times)  # noqa: B023
    assert emulator.invoke("small")["answer"] == "I am small"
    assert emulator.log.count(f"it ran out of memory: {ended}") == 2, emulator.log
