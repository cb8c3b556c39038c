"""What callers see when one of three instances loses its container under load; the same for processes and images."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from tests.support.emulator_process import RunningEmulator
from tests.support.scripted_models import scripted_model
from tests.support.waiting import eventually

R = TypeVar("R", bound=RunningEmulator)
CALLERS = 6
NAMES = [f"{number}.tar.gz" for number in range(12)]


def lose_one_under_load(
    serve: Callable[..., R],
    bucket: Path,
    kill: Callable[[R, dict[str, Any]], None],
    start: dict[str, Any],
    replace: Callable[[], object],
) -> R:
    """Only calls that were with the killed container may fail, as on SageMaker.

    ``serve`` starts an emulator with the scripted container, whose cue ``start`` is; ``kill`` kills the container that
    the state describes so. The one that takes its place is to be healthy after ``replace``, not before.
    """
    for name in NAMES:
        scripted_model(bucket / name, f"I am {name}", invoke={"delay": 0.005})
    emulator = serve("--instances", "3", start=start)
    for name in NAMES:
        emulator.invoke(name)
    failures: list[ClientError] = []
    answered: list[str] = []
    stop = threading.Event()

    def caller(turn: int) -> None:
        while not stop.is_set():
            name = NAMES[turn % len(NAMES)]
            turn += 1
            try:
                assert emulator.invoke(name)["answer"] == f"I am {name}"
                answered.append(name)
            except ClientError as error:
                failures.append(error)

    with ThreadPoolExecutor(CALLERS) as pool:
        callers = [pool.submit(caller, number) for number in range(CALLERS)]
        try:
            eventually(lambda: len(answered) > 100)
            kill(emulator, emulator.instances()[1]["containers"][0])
            eventually(lambda: not emulator.instances()[1]["healthy"])
            for name in NAMES:
                assert emulator.invoke(name)["answer"] == f"I am {name}"
            so_far = len(answered)
            eventually(lambda: len(answered) > so_far + 100, what="the others serve")
            assert not emulator.instances()[1]["healthy"], "nobody had to wait for the one that is being replaced"
            replace()
            eventually(lambda: emulator.instances()[1]["healthy"])
        finally:
            stop.set()
        for each in callers:
            each.result()
    # A process that is being killed may still accept a connection, so that a caller can fail once more.
    assert len(failures) <= 3 * CALLERS, [str(error)[100:330] for error in failures]
    for error in failures:
        assert error.response["Error"]["Code"] == "ModelError" and error.response["OriginalStatusCode"] == 0
    assert [instance["containers"][0]["restarts"] for instance in emulator.instances()] == [0, 1, 0]
    return emulator
