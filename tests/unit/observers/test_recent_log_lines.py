"""The latest lines of containers, kept for CloudWatch Logs: which give way."""

from __future__ import annotations

from emulator.events import Events, LogLine
from emulator.observers.recent_log_lines import KEPT_CHARACTERS, KEPT_LINES, KEPT_STREAMS, RecentLogLines
from tests.support.aws_clients import REGION


def test_the_oldest_lines_and_streams_give_way() -> None:
    logs = RecentLogLines()
    long = "x" * (KEPT_CHARACTERS // 4)
    events = Events().within(endpoint_name="e", region=REGION, variant_name="v")
    logs.listen_to(events)
    for number in range(KEPT_STREAMS + 5):
        instance = events.within(instance_id=f"i-{number}", container="primary")
        instance.publish(LogLine("short"))
        for _ in range(6 if number == 50 else 0):
            instance.publish(LogLine(long))
    for _ in range(KEPT_LINES + 10):
        events.within(instance_id="i-60", container="primary").publish(LogLine(""))
    taken = {stream.name: [line for _, line in stream.lines] for stream in logs.take()}
    assert list(taken) == [f"v/i-{number}" for number in range(5, KEPT_STREAMS + 5)]
    assert taken["v/i-50"] == [long] * 4
    assert len(taken["v/i-60"]) == KEPT_LINES
    assert list(logs.take()) == []


def test_the_streams_of_a_job_are_those_of_its_instance_and_of_its_containers() -> None:
    logs, events = RecentLogLines(), Events().within(region=REGION, job_kind="TransformJobs", job_name="j")
    logs.listen_to(events)
    for container in ("primary", "data-log", ""):
        events.within(instance_id="i-1-1000", container=container).publish(LogLine(container))
    streams = [(stream.group_name, stream.name) for stream in logs.take()]
    group = "/aws/sagemaker/TransformJobs"
    assert streams == [(group, "j/i-1-1000"), (group, "j/i-1-1000/data-log"), (group, "j/i-1-1000")]
