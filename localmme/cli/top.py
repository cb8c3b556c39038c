"""``localmme top``: what an emulator does, live."""

from __future__ import annotations

import functools
import sys
import time

import click

from emulator.errors import SetupError
from localmme.cli.emulator_options import where_an_emulator_is

EVENTS_ONCE = 20


@click.command(short_help="Watch models, memory and events, live.")
@click.option("--once", is_flag=True, help="Print it once, as tables: for a pipe, or without textual.")
@where_an_emulator_is
def top(once: bool, url: str) -> None:
    """Watch an emulator: which instance has which model, memory and disk, what happened and why. Needs a terminal, and
    pip install "localmme[top]".

    Keys: s sorts by something else, / filters, a leaves out models that no instance has, e goes on to the next
    endpoint, u unloads the selected model, q quits.
    """
    if once:
        _print_once(url)
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SetupError("top needs a terminal; localmme top --once prints tables.")
    try:
        from localmme.top.app import Top
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise SetupError('top needs textual: pip install "localmme[top]". Without it: localmme top --once.') from None
    from localmme import emulator_client
    from localmme.event_stream import EventStream
    from localmme.pages import act

    emulator_client.health(url)  # an error is seen best without a screen
    app = Top(EventStream(url), functools.partial(act, url), url)
    app.run()
    if app.return_code:
        sys.exit(app.return_code)


def _print_once(url: str) -> None:
    from localmme import emulator_client, grid
    from localmme.live_state import LiveState

    state = LiveState()
    state.show(emulator_client.state(url))
    state.tell(emulator_client.kept_entries(url, type="event", limit=str(EVENTS_ONCE)).entries)
    emulator_client.print_shown(grid.picture(state, EVENTS_ONCE, time.time()))
