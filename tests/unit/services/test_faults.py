"""Which calls a fault is for, how often, and what is no fault."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.errors import SetupError
from emulator.hosting.surroundings import Surroundings
from emulator.invocation import Invocation
from emulator.services.runtime.faults import NEEDED, OPTIONS, SCOPE, Faults


def call(target_model: str = "europe/lisbon", endpoint_name: str = "e") -> Invocation:
    return Invocation(endpoint_name, b"", 0.0, target_model=target_model)


def names(faults: Faults, invocation: Invocation, streamed: bool = False) -> list[str]:
    return [fault.fault for fault in faults.take(invocation, streamed)]


def test_a_fault_is_for_so_many_calls_or_until_it_is_cleared() -> None:
    faults = Faults()
    faults.add({"fault": "ThrottlingException", "times": 2})
    last = faults.add({"fault": "ModelError", "times": None})
    assert [names(faults, call()) for _ in range(4)] == [["ThrottlingException"]] * 2 + [["ModelError"]] * 2
    assert faults.clear(last.number) == [last] and faults.active == [] and names(faults, call()) == []
    assert faults.clear(last.number) == []


def test_a_fault_is_for_the_calls_that_it_names() -> None:
    faults = Faults()
    faults.add({"fault": "ServiceUnavailable", "endpoint_name": "e", "target_model": "europe/*"})
    assert names(faults, call()) == ["ServiceUnavailable"]
    assert names(faults, call("asia/osaka")) == names(faults, call("")) == names(faults, call(endpoint_name="f")) == []


def test_delays_come_before_what_ends_a_call_and_each_call_uses_up_one_of_those() -> None:
    faults = Faults()
    faults.add({"fault": "InternalFailure", "times": 1})
    faults.add({"fault": "Latency", "seconds": 1, "jitter_seconds": 0.5})
    faults.add({"fault": "ServiceUnavailable", "times": 1})
    first, second, third = (names(faults, call()) for _ in range(3))
    assert (first, second, third) == (["Latency", "InternalFailure"], ["Latency", "ServiceUnavailable"], ["Latency"])
    [latency] = faults.take(call(), streamed=False)
    assert all(1 <= faults.delay(latency) <= 1.5 for _ in range(20))
    assert latency.effect() == "delayed by 1 to 1.5 s"


def test_what_breaks_streams_waits_for_a_stream() -> None:
    faults = Faults()
    faults.add({"fault": "ModelStreamError", "times": 1, "chunks": 2})
    assert names(faults, call()) == []
    [taken] = faults.take(call(), streamed=True)
    assert (taken.effect(), taken.left()) == ("answered ModelStreamError after 2 chunks", "the last one")


def test_the_list_has_what_applies_to_each() -> None:
    faults = Faults()
    faults.add({"fault": "ModelError", "times": 3, "status": 503, "target_model": "a*"})
    scope = {"times": 3, "endpoint_name": "", "target_model": "a*"}
    assert faults.listed() == [{"number": 1, "fault": "ModelError", **scope, "message": "", "status": 503}]
    assert faults.active[0].sentence() == "ModelError: 3 calls of a*"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"fault": "throttlingexception"}, "did you mean ThrottlingException?"),
        ({}, "there are ThrottlingException, "),
        ({"fault": ["x"]}, "There is no fault"),
        ({"fault": "ModelError", "seconds": 1}, "does not take seconds. It takes: times, "),
        ({"fault": "ModelError", "status": 200}, "from 400 to 599"),
        ({"fault": "ModelError", "times": 0}, "1 or more"),
        ({"fault": "ModelError", "times": True}, "1 or more"),
        ({"fault": "Latency"}, "needs seconds"),
        ({"fault": "Latency", "seconds": -1}, "up to 3600, not -1"),
        ({"fault": "Latency", "seconds": float("nan")}, "up to 3600, not nan"),
        ({"fault": "ScarceMemory", "fraction": 1.5}, "below 1, not 1.5"),
        ({"fault": "ScarceMemory", "fraction": 0.5, "target_model": "a"}, "does not take target_model"),
        ({"fault": "SlowS3"}, "needs seconds or bytes_per_second"),
        ({"fault": "ConnectionCut", "chunks": "1"}, "0 or more, not '1'"),
        ({"fault": "ServiceUnavailable", "target_model": 1}, "a string"),
    ],
)
def test_what_is_no_fault_is_refused(members: dict[str, Any], words: str) -> None:
    faults = Faults()
    with pytest.raises(SetupError) as refused:
        faults.add(members)
    assert words in str(refused.value)
    assert faults.active == []


def test_all_faults_can_be_made() -> None:
    faults, values = Faults(), {"seconds": 1, "fraction": 0.5}
    for name in OPTIONS:
        faults.add({"fault": name, **{option: values[option] for option in NEEDED.get(name, ())[:1]}})
    assert [listed["fault"] for listed in faults.listed()] == list(OPTIONS)
    assert not {*SCOPE} & {option for options in OPTIONS.values() for option in options}


def test_what_surrounds_instances_is_as_the_latest_fault_says_until_it_is_cleared() -> None:
    surroundings = Surroundings()
    faults = Faults(surroundings)
    scarce = faults.add({"fault": "ScarceMemory", "fraction": 0.5})
    faults.add({"fault": "ScarceMemory", "fraction": 0.25, "endpoint_name": "e"})
    faults.add({"fault": "SlowS3", "seconds": 2, "bytes_per_second": 100})
    assert (surroundings.memory_fraction("e"), surroundings.memory_fraction("f")) == (0.25, 0.5)
    assert surroundings.extra_download_seconds(300) == 5
    assert faults.active == [] and names(faults, call()) == []
    assert [fault.sentence() for fault in faults.all] == [
        "ScarceMemory: instances of all endpoints have 50% of their memory until it is cleared",
        "ScarceMemory: instances of endpoint e have 25% of their memory until it is cleared",
        "SlowS3: downloads take 2 s more and 100 bytes a second until it is cleared",
    ]
    assert faults.listed()[2] == {"number": 3, "fault": "SlowS3", "seconds": 2, "bytes_per_second": 100}
    faults.clear(scarce.number)
    assert (surroundings.memory_fraction("e"), surroundings.memory_fraction("f")) == (0.25, 1.0)
    faults.clear()
    assert surroundings == Surroundings(memory_fractions={})
