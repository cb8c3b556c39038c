"""Emulators in the background: started, found by name, listed, stopped."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from emulator.errors import SetupError
from emulator.printable import printable
from emulator.state_directory import DEFAULT_URL, EmulatorRecord, StateDirectory
from localmme import state_directories
from localmme.emulator_client import waiting
from localmme.pages import PageRefused, page
from localmme.serve_process import end, launch, wait_in_service

STATE_SECONDS = 5.0  # for an emulator to report its endpoints
LIST = ", "
MINUTES = len("2030-01-01T00:00")  # of a time, without its seconds: a table has to fit into 80 columns


def detach(arguments: list[str], directory: StateDirectory) -> EmulatorRecord:
    """Start an emulator that outlives this process, and wait until it is InService.

    Raises SetupError with the reason when it fails. Nothing is left running then, nor after a KeyboardInterrupt.
    """
    was_there = directory.path.exists()
    process = launch(arguments, directory, subprocess.DEVNULL)
    try:
        with waiting("Starting the emulator"):
            return wait_in_service(process, directory, float("inf"))  # pulling an image may take long
    except BaseException:
        record = directory.record()
        end(process.pid, directory, record.ends_within_seconds if record else 0)
        if not was_there:
            directory.remove()
        raise


def port_of(name: str, host: str) -> int:
    """The port of the last emulator of that name, which its clients still use; 0 = any, if it is not free."""
    directory = state_directories.named(name)
    directory.wait_for_leftovers()  # the remains of a killed emulator may still hold the port
    last = directory.record()
    port = urlsplit(last.url).port if last else None
    if port:
        try:
            with socket.create_server((host, port)):
                return port
        except OSError:
            pass
    return 0


def find(name: str | None) -> EmulatorRecord:
    """The emulator of that name; None = the only running one. Raises SetupError, which lists the running ones."""
    if name is not None:
        found = state_directories.named(name).living_emulator()
        if found is None:
            others = _those_running() if state_directories.all_living() else "Nor is any other."
            raise SetupError(f"No emulator {name} is running. {others}")
        return found
    running = state_directories.all_living()
    if len(running) != 1:
        raise SetupError(f"{_those_running()}{' Say which, with --name.' if running else ''}")
    return running[0]


def address_of(name: str | None) -> str:
    """The address of the emulator of that name.

    Without a name: the default address if an emulator listens there or none runs, else that of the only running one.
    Raises SetupError, which lists the names, if several run.
    """
    if name is not None:
        return find(name).url
    running = state_directories.all_living()
    if not running or any(record.url == DEFAULT_URL for record in running):
        return DEFAULT_URL
    return find(None).url


def stop(record: EmulatorRecord) -> None:
    """Stop an emulator, by force if it does not end in time, and wait until it has ended."""
    with waiting(f"Stopping {record.name}"):
        end(record.pid, record.directory, record.ends_within_seconds)


def listed() -> list[dict[str, Any]]:
    """The running emulators, with the names and statuses of their endpoints; None = it did not report them."""
    found = []
    for record in state_directories.all_living():
        endpoints: list[dict[str, str]] | None
        try:
            state = page(record.url, "state", STATE_SECONDS)
            endpoints = [{key: each[key] for key in ("endpoint_name", "status")} for each in state["endpoints"]]
        except (OSError, PageRefused):
            endpoints = None
        found.append({**asdict(record), "endpoints": endpoints})
    return found


def print_running(emulators: list[dict[str, Any]]) -> None:
    """A table for people; plain text in a pipe."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False, show_edge=False)
    for heading in ("name", "url", "endpoints", "since", "pid"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("url", "since", "pid"))
    for each in emulators:
        known = each["endpoints"]
        endpoints = LIST.join(f"{endpoint['endpoint_name']} {endpoint['status']}" for endpoint in known or []) or "-"
        since = f"{each['since'][:MINUTES]}Z"
        cells = (each["name"], each["url"], "?" if known is None else endpoints, since, str(each["pid"]))
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console = Console(width=None if sys.stdout.isatty() else 500)
    console.print(table if emulators else _those_running())


def _those_running() -> str:
    names = [record.name for record in state_directories.all_living()]
    if not names:
        return "No emulator is running. Start one with localmme serve --detach."
    return f"Running: {LIST.join(names)}."
