"""The stream of events: each reaches who listens to it there and in all streams above, with its own origin."""

from __future__ import annotations

from emulator.events import Event, Events, Origin, Ready, Warned


class Heard(list[tuple[Event, Origin]]):
    def listen(self, event: Event, origin: Origin) -> None:
        self.append((event, origin))


def test_an_event_reaches_all_streams_above_with_its_own_origin() -> None:
    root, heard, elsewhere = Events(), Heard(), Heard()
    endpoint = root.within(endpoint_name="e")
    variant = endpoint.within(variant_name="v")
    root.subscribe(heard.listen)
    root.within(endpoint_name="other").subscribe(elsewhere.listen)
    variant.publish(Ready())
    assert heard == [(Ready(), Origin("e", "", "v"))]
    assert not elsewhere


def test_a_listener_hears_the_kinds_that_it_names() -> None:
    events, heard = Events(), Heard()
    events.subscribe(heard.listen, Warned)
    events.publish(Ready())
    events.publish(Warned("so"))
    assert [event for event, _ in heard] == [Warned("so")]


def test_who_subscribes_later_hears_what_happens_from_then_on_in_streams_that_are_there() -> None:
    root, to_all, to_one = Events(), Heard(), Heard()
    within = root.within(endpoint_name="e").within(variant_name="v")
    within.publish(Ready())
    root.subscribe(to_all.listen)
    within.publish(Ready())
    root.subscribe(to_one.listen, Ready)
    within.publish(Ready())
    assert (len(to_all), len(to_one)) == (2, 1)
