"""The options of ``serve`` are the same on the command line, in Python, in a notebook and in pytest."""

from __future__ import annotations

import inspect
import os
import pty
import sys
from pathlib import Path
from typing import Any

import click
import pytest

import localmme
from emulator.errors import SetupError
from localmme import endpoint_options, pytest_plugin
from localmme.cli.main import main
from localmme.cli.serve import serve
from localmme.notebook.magic import Notebook
from localmme.options import OPTIONS, PYTHON_OPTIONS, ServeOption, command_line

BY_KEYWORD = {option.keyword: option for option in OPTIONS}
# What an option stands for where Python programs differ from the command line: any port that is free.
DEFAULTS_OF_ITS_OWN = {"port": 0}


def test_localmme_serve_takes_every_option_with_its_default() -> None:
    parameters = dict(inspect.signature(localmme.serve).parameters)
    assert parameters.pop("file").default is None and parameters.pop("startup_timeout_seconds")
    assert set(parameters) == {option.keyword for option in PYTHON_OPTIONS}
    with serve.make_context("serve", []) as context:
        for name, parameter in parameters.items():
            option = BY_KEYWORD[name]
            typed = option.python_value(context.params[str(option.name)])
            # None, and what is empty: as without the option.
            assert parameter.default in (None, (), DEFAULTS_OF_ITS_OWN.get(name, typed)), name


def test_the_notebook_takes_the_options_of_localmme_serve() -> None:
    commands = Notebook(shell=None)._commands.commands  # type: ignore[arg-type]
    assert [each for each in commands["serve"].params if isinstance(each, click.Option)] == PYTHON_OPTIONS


def test_the_pytest_plugin_has_defaults_for_options_only() -> None:
    names = {option.keyword for option in PYTHON_OPTIONS}
    assert set(pytest_plugin.DEFAULTS) <= names and names >= pytest_plugin.CONTAINERS


def test_what_describes_an_endpoint_is_an_argument_of_its_requests() -> None:
    renamed = {"instance_type": "instance_type_name", "env": "environment"}
    described = {renamed.get(option.keyword, option.keyword) for option in OPTIONS if option.describes_endpoint}
    assert described == set(inspect.signature(endpoint_options.start_requests).parameters)


@pytest.mark.parametrize(
    "keyword, value",
    [
        ("models", "s3://bucket/models/"),
        ("command", "python server.py"),
        ("endpoint", False),
        ("endpoint", True),
        ("cache", False),
        ("reload", True),
        ("reload", False),
        ("preload", ["numpy", "sklearn.ensemble,joblib"]),
        ("preloading", False),
        ("local_code", True),
        ("local_code", False),
        ("local_code", None),
        ("port", 0),
        ("instances", 3),
        ("allow_hosts", ["a.test", "*.b.test"]),
        ("map_images", {"*/sagemaker-xgboost:1.*": "handler:h.py"}),
        ("env", {"A": "1 2", "B": "--detach=x", "C": ""}),
        ("limits", {"invocation_seconds": "5"}),
        ("state_dir", "state"),
        ("detach", True),
    ],
)
def test_what_python_says_is_what_the_command_line_says(keyword: str, value: Any) -> None:
    option = BY_KEYWORD[keyword]
    with serve.make_context("serve", command_line({keyword: value})) as context:
        assert option.python_value(context.params[str(option.name)]) == value


@pytest.mark.parametrize(
    "values, words",
    [
        ({"models": Path("s3"), "handler": Path("h.py")}, ["--models=s3", "--handler=h.py"]),
        ({"command": ["python", "my server.py"]}, ["--command=python 'my server.py'"]),
        ({"allow_hosts": "a.test"}, ["--allow-host=a.test"]),
        ({"gpus": 2}, ["--gpus=2"]),
        ({"limits": {"invocation_seconds": 0.5}}, ["--limit=invocation_seconds=0.5"]),
        ({"image": None, "env": {}, "allow_origins": ()}, []),
    ],
)
def test_python_may_say_it_in_types_of_its_own(values: dict[str, Any], words: list[str]) -> None:
    assert command_line(values) == words


@pytest.mark.parametrize("text", ["NOVALUE", "=x"])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(SetupError, match="^--env takes NAME=VALUE, not "):
        BY_KEYWORD["env"].python_value((text,))


def test_what_concerns_the_emulator_may_stand_beside_a_file() -> None:
    beside = {option.keyword for option in OPTIONS if not option.describes_endpoint}
    assert {"allow_hosts", "allow_origins", "local_code", "s3", "limits", "state_dir"} <= beside


def test_every_option_is_on_the_command_line_once() -> None:
    assert main.commands["serve"] is serve
    assert [each for each in serve.params if isinstance(each, ServeOption)] == OPTIONS
    assert len(BY_KEYWORD) == len(OPTIONS)


def requests_with(**options: Any) -> Any:
    """The requests to start with, of these options and of none else."""
    none = dict.fromkeys(inspect.signature(endpoint_options.start_requests).parameters)
    given = {
        **none,
        "endpoint_name": "e",
        "environment": (),
        "models": "s3://b/models/",
        "instances": 1,
        "toolkit": "auto",
        "preload": (),
        "preloading": True,
        **options,
    }
    return endpoint_options.start_requests(**given)


@pytest.mark.parametrize(
    "options, variables",
    [
        ({}, None),
        ({"preload": ("numpy, sklearn.ensemble", "joblib")}, {"LOCALMME_PRELOAD": "numpy,sklearn.ensemble,joblib"}),
        ({"preloading": False}, {"LOCALMME_PRELOAD": ""}),
        ({"preloading": False, "preload": ("numpy",)}, {"LOCALMME_PRELOAD": ""}),
        ({"preloading": False, "environment": ("LOCALMME_PRELOAD=numpy",)}, {"LOCALMME_PRELOAD": "numpy"}),
    ],
)
def test_what_is_imported_once_is_in_the_containers_environment(
    options: dict[str, Any], variables: dict[str, str] | None
) -> None:
    [model] = requests_with(**options).models
    assert model["PrimaryContainer"].get("Environment") == variables


@pytest.mark.parametrize(
    "options, message",
    [
        ({"preload": ("numpy",), "image": "x"}, "are for handlers"),
        ({"preloading": False, "command": "python x.py"}, "are for handlers"),
        ({"preload": ("1numpy",)}, "--preload takes names of Python modules, not '1numpy'"),
        ({"preload": ("numpy,",)}, "--preload takes names of Python modules, not ''"),
    ],
)
def test_what_cannot_be_imported_once_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SetupError, match=message):
        requests_with(**options)


def test_handlers_run_in_the_python_of_a_virtual_environment(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    for text in (tmp_path / "venv", python):
        [model] = requests_with(python=str(text)).models
        assert model["PrimaryContainer"]["Environment"] == {"LOCALMME_PYTHON": str(python)}
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for text, message in ((tmp_path / "none", "cannot be run: No such file"), (old, "is no Python 3.10 or newer")):
        with pytest.raises(SetupError, match=message):
            requests_with(python=str(text))
    with pytest.raises(SetupError, match="--python is for handlers"):
        requests_with(python=str(python), image="x")


def test_requirements_are_installed_for_handlers_only() -> None:
    [model] = requests_with(install_requirements=True).models
    assert model["PrimaryContainer"]["Environment"] == {"LOCALMME_INSTALL_REQUIREMENTS": "true"}
    with pytest.raises(SetupError, match="--install-requirements is for handlers"):
        requests_with(install_requirements=True, command="python x.py")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"image": "x"}, "not for --command and --image"),
        ({"command": "python x.py"}, "not for --command and --image"),
        ({"workers_per_model": 2}, "one worker for each model"),
    ],
)
def test_only_handlers_in_one_process_are_debugged(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SetupError, match=message):
        requests_with(debug=5678, **options)


def test_a_debugged_handler_has_time_and_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def variables() -> dict[str, str]:
        [model] = requests_with(debug=5678).models
        return dict(model["PrimaryContainer"]["Environment"])

    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    assert variables() == {"LOCALMME_DEBUG_PORT": "5678", "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": "604800"}
    terminals = pty.openpty()
    monkeypatch.setattr("sys.stdin", open(terminals[1]))  # noqa: SIM115
    assert variables()["LOCALMME_DEBUG_TERMINAL"] == os.ttyname(terminals[1])
    monkeypatch.setattr(endpoint_options, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match="-m pip install debugpy"):
        variables()
