"""pytest's fixture ``localmme``: an emulator as a test's marker describes it, shared by tests with equal markers.

pytest imports this module in every run, whether or not a test uses it: what is heavy is imported when it is first used.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from localmme.python_api import Emulator

# What a project can set once for all of its tests: in pytest's configuration file, or on the command line.
DEFAULTS = {
    "models": "directory of model archives, or s3://BUCKET/PREFIX",
    "handler": "Python handler for all models: FILE[:NAME]",
    "command": "multi-model server to run as the container",
    "image": "Docker image to run as the container",
    "memory": "memory for the container and its models, such as 2GiB",
    "max_loaded_models": "most models in memory at a time",
}
# Each says what runs as the container: one of them in a closer marker overrides the others further away.
CONTAINERS = {"handler", "command", "image"}
# Emulators that are up at a time, in one process. Each takes about 100 MB, and what its models take. [ours]
MOST_EMULATORS = 4

Used = tuple["Emulator", int]  # an emulator, and its log's length when the test began
USED: pytest.StashKey[Used] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options ``--localmme-models`` (command line), ``localmme_models`` (ini file), and so on."""
    group = parser.getgroup("localmme", "a local SageMaker endpoint for tests")
    for name, meaning in DEFAULTS.items():
        group.addoption(f"--localmme-{name.replace('_', '-')}", metavar=name.upper(), help=f"localmme: {meaning}")
        parser.addini(f"localmme_{name}", f"{meaning}; for tests whose marker does not say")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "localmme(models=..., handler=..., max_loaded_models=..., shared=True, ...): the emulator that the fixture "
        "localmme starts. Takes what localmme.serve takes; paths are relative to the test's file. With shared=False "
        "no other test uses it.",
    )
    config.addinivalue_line(
        "markers",
        "localmme_fault(name, times=..., model=..., ...): the emulator of the fixture localmme fails, delays or breaks "
        "off calls during the test. Takes what localmme.Emulator.fault takes.",
    )


class Emulators:
    """The emulators of this process, by their options, least recently used first."""

    def __init__(self) -> None:
        self._kept: dict[str, Emulator] = {}

    def serving(self, options: Mapping[str, Any]) -> Emulator:
        """An emulator with these options, InService: an earlier test's, or a new one. Raises SetupError."""
        from localmme import serve

        key = repr(sorted(options.items()))
        emulator = self._kept.pop(key, None)
        if emulator is not None and not emulator.is_running:  # a test has stopped it
            emulator.stop()
            emulator = None
        if emulator is None:
            while len(self._kept) >= MOST_EMULATORS:
                self._kept.pop(next(iter(self._kept))).stop()
            emulator = serve(**options)
        self._kept[key] = emulator
        return emulator

    def stop(self) -> None:
        """Stop all of them."""
        with ThreadPoolExecutor() as threads:  # each takes about a second
            list(threads.map(lambda emulator: emulator.stop(), self._kept.values()))
        self._kept.clear()


@pytest.fixture(scope="session")
def _localmme_emulators() -> Iterator[Emulators]:
    emulators = Emulators()
    yield emulators
    emulators.stop()


@pytest.fixture
def localmme(request: pytest.FixtureRequest, _localmme_emulators: Emulators) -> Iterator[Emulator]:
    """An emulator whose endpoint is InService, as ``@pytest.mark.localmme(models=..., handler=...)`` describes it.

    Tests with equal options share one, in each process, with the models that are in its memory; ``shared=False``
    gives a test its own. Nobody has to stop it.
    """
    from emulator.errors import SetupError

    options = _described(request.node)
    shared = options.pop("shared", True)
    try:
        if shared:
            emulator = _localmme_emulators.serving(options)
        else:
            from localmme import serve

            emulator = serve(**options)
    except SetupError as error:
        pytest.fail(f"localmme: {error}", pytrace=False)
    request.node.stash[USED] = emulator, len(emulator.logs())
    try:
        if shared:
            _begin_anew(emulator)
        _inject_faults(emulator, request.node)
        yield emulator
    finally:
        if not shared:
            emulator.stop()


def _begin_anew(emulator: Emulator) -> None:
    """An earlier test has left neither calls nor faults."""
    from emulator.errors import SetupError

    # One that has ended meanwhile says so to the test; one with users may not show its calls to this one.
    with contextlib.suppress(SetupError):
        emulator.clear_calls()
        if emulator._has_faults:
            emulator.clear_faults()


def _inject_faults(emulator: Emulator, item: pytest.Item) -> None:
    from emulator.errors import SetupError

    for marker in item.iter_markers("localmme_fault"):
        try:
            emulator.fault(*marker.args, **marker.kwargs)
        except (SetupError, TypeError) as error:
            pytest.fail(f"@pytest.mark.localmme_fault: {error}", pytrace=False)


@pytest.fixture
def localmme_environment(localmme: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The same emulator, with the variables of ``localmme env`` in the environment while the test runs.

    For code that makes AWS clients by itself: they find the emulator, with no change to it.
    """
    for name, value in localmme.environment().items():
        monkeypatch.setenv(name, value)
    return localmme


# Not wrapper=True: that is an error in pytest before 7.4, for whoever has localmme beside it.
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Add to a failed test's report what its emulator has logged since the test began."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and USED in item.stash:
        emulator, began = item.stash[USED]
        report.sections.append((f"localmme {emulator.url}", emulator.logs()[began:] or "(it logged nothing)\n"))


def _described(item: pytest.Item) -> dict[str, Any]:
    """The options for localmme.serve: each from the closest marker that has it, else from the configuration."""
    options = _defaults(item.config)
    for marker in reversed(list(item.iter_markers("localmme"))):
        _check(marker)
        nearer = _absolute(marker.kwargs, item.path.parent)
        if {"file", "stub"} & nearer.keys() or nearer.get("endpoint") is False:  # these describe all endpoints
            options.clear()
        elif CONTAINERS & nearer.keys():
            options = {name: value for name, value in options.items() if name not in CONTAINERS}
        options.update(nearer)
    if not options:
        pytest.fail(
            "localmme: say what to serve, by @pytest.mark.localmme(models=..., handler=...) at the test, its class or "
            "its module (pytestmark), or for all tests by localmme_models in pytest's configuration file.",
            pytrace=False,
        )
    return options


def _defaults(config: pytest.Config) -> dict[str, Any]:
    """The options of the configuration file, overridden by those of the command line."""
    written = {name: config.getini(f"localmme_{name}") for name in DEFAULTS}
    typed = {name: config.getoption(f"localmme_{name}") for name in DEFAULTS}
    configured_in = config.inipath.parent if config.inipath else config.rootpath
    options: dict[str, Any] = {}
    for each, base in ((written, configured_in), (typed, config.invocation_params.dir)):
        said = {name: value for name, value in each.items() if value}
        if CONTAINERS & said.keys():
            options = {name: value for name, value in options.items() if name not in CONTAINERS}
        options.update(_absolute(said, base))
    if "max_loaded_models" in options:
        try:
            options["max_loaded_models"] = int(options["max_loaded_models"])
        except ValueError:
            pytest.fail(
                f"localmme_max_loaded_models takes a number, not {options['max_loaded_models']!r}.", pytrace=False
            )
    return options


def _check(marker: pytest.Mark) -> None:
    from localmme import serve

    known = [*inspect.signature(serve).parameters, "shared"]
    unknown = [repr(value) for value in marker.args] + [name for name in marker.kwargs if name not in known]
    if unknown:
        pytest.fail(
            f"@pytest.mark.localmme does not take {', '.join(unknown)}. It takes, by name: {', '.join(known)}.",
            pytrace=False,
        )


def _absolute(options: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """The options with absolute paths."""
    from localmme.options import PYTHON_OPTIONS

    paths = {"file", *(option.keyword for option in PYTHON_OPTIONS if option.is_path)}
    return {
        name: os.path.join(base, os.path.expanduser(value))
        if name in paths and value is not None and not str(value).startswith("s3://")
        else value
        for name, value in options.items()
    }
