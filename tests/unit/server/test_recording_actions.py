"""The actions by which a recording is begun and ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from emulator.clock import Clock
from emulator.console.actions import ActionRefused, Actions
from emulator.events import Events, Ready
from emulator.observers.recent_entries import RecentEntries
from emulator.observers.recording import Recorder
from emulator.server.recording_actions import add_recording_actions
from localmme import read_trace


def test_a_recording_is_begun_and_ended_in_the_state_directory(tmp_path: Path) -> None:
    async def scenario() -> None:
        events, entries = Events(), RecentEntries(Clock())
        entries.listen_to(events)
        actions, directory = Actions(events), tmp_path / "recordings"
        recorder = Recorder(entries, Clock(), "1.2", {}, list, pytest.fail)
        add_recording_actions(actions, recorder, directory)
        assert (await actions.take("recording", {}))["file"] is None
        with pytest.raises(ActionRefused, match="Nothing is recorded"):
            await actions.take("stop-recording", {})
        with pytest.raises(ActionRefused, match="bodies must be true or false"):
            await actions.take("record", {"bodies": "yes"})
        begun = await actions.take("record", {"file": "/etc/passwd", "bodies": True})
        assert (await actions.take("recording", {}))["file"] == begun["file"]
        with pytest.raises(ActionRefused, match="A recording is under way: "):
            await actions.take("record", {})
        events.publish(Ready())
        assert (await actions.take("stop-recording", {}))["file"] == begun["file"]
        events.publish(Ready())
        [file] = directory.iterdir()
        assert str(file) == begun["file"]
        first, *others = read_trace(file)
        assert first["type"] == "recording" and first["bodies"] is True
        assert [line["kind"] for line in others if line["type"] == "event"] == ["action_taken", "ready"]
        await recorder.stop()

    asyncio.run(scenario())
