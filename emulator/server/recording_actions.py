"""The actions ``record``, ``stop-recording`` and ``recording``: recordings by POST, for the page and for commands."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from emulator.console.actions import ActionRefused, Actions, Members
from emulator.errors import SetupError
from emulator.observers.recording import Recorder, RecordingSettings
from emulator.private_files import make_private
from emulator.recordings import SIZE_BYTES, SUFFIX


def add_recording_actions(actions: Actions, recorder: Recorder, directory: Path) -> None:
    """Take these actions from now on. What they record goes below ``directory``: a web page chooses no paths."""

    async def record(members: Members) -> dict[str, Any]:
        bodies = members.get("bodies", False)
        if not isinstance(bodies, bool):
            raise ActionRefused(f"bodies must be true or false, not {bodies!r:.100}.")
        file = directory / f"{time.strftime('%Y-%m-%d-%H%M%S')}{SUFFIX}"
        try:
            await asyncio.to_thread(make_private, directory)
            await recorder.start(RecordingSettings(file, SIZE_BYTES, bodies))
        except OSError as error:
            raise ActionRefused(f"{directory} cannot be made: {error.strerror}.", 500) from None
        except SetupError as error:
            raise ActionRefused(str(error), 409) from None
        return {"message": f"It is recorded to {file}.", "file": str(file)}

    async def stop(_: Members) -> dict[str, Any]:
        file = recorder.file
        if file is None:
            raise ActionRefused("Nothing is recorded.", 409)
        await recorder.stop()
        return {"message": f"The recording is {file}.", "file": str(file)}

    async def current(_: Members) -> dict[str, Any]:
        file = recorder.file
        message = "Nothing is recorded." if file is None else f"It is recorded to {file}."
        return {"message": message, "file": None if file is None else str(file)}

    actions.add("record", record)
    actions.add("stop-recording", stop)
    actions.add("recording", current, changes=False)
