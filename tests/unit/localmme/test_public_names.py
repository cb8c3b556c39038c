"""What is public: a name that is added or lost is a decision, so it is written here as well."""

from __future__ import annotations

import inspect

import localmme
from tests.support.repository import REPOSITORY

PUBLIC = ["Emulator", "ServeError", "__version__", "fault", "read_trace", "serve"]
OF_AN_EMULATOR = {
    "calls",
    "clear_calls",
    "clear_faults",
    "client",
    "endpoint_name",
    "environment",
    "fault",
    "invoke",
    "is_running",
    "logs",
    "models",
    "open",
    "state",
    "state_directory",
    "stop",
    "url",
    "wait_until",
}


def test_the_package_exports_these_names_and_no_others() -> None:
    assert sorted(localmme.__all__) == PUBLIC
    assert all(getattr(localmme, name) is not None for name in PUBLIC)


def test_an_emulator_has_these_attributes_and_no_others() -> None:
    found = {name for name, _ in inspect.getmembers(localmme.Emulator) if not name.startswith("_")}
    found |= set(localmme.Emulator.__annotations__)
    assert found == OF_AN_EMULATOR


def test_what_is_public_is_documented() -> None:
    text = (REPOSITORY / "docs" / "python-api.md").read_text("utf-8")
    assert [name for name in ("serve", "read_trace", "ServeError", *OF_AN_EMULATOR) if name not in text] == []
    assert localmme.Emulator.__doc__ and localmme.serve.__doc__ and localmme.ServeError.__doc__


def test_every_argument_of_serve_is_given_by_its_name_but_the_first() -> None:
    kinds = [parameter.kind for parameter in inspect.signature(localmme.serve).parameters.values()]
    assert set(kinds[1:]) <= {inspect.Parameter.KEYWORD_ONLY}
