"""What a container that is a process gets of the shell's environment, and how its user learns what it misses."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.containers.process.environment import InheritedEnvironment, is_inherited, past_proxies

KEPT = ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "PYTHONHASHSEED", "LD_LIBRARY_PATH"]
KEPT += ["JAVA_HOME", "VIRTUAL_ENV", "CONDA_PREFIX", "CUDA_VISIBLE_DEVICES", "REQUESTS_CA_BUNDLE"]
KEPT += ["PIP_INDEX_URL", "XDG_CACHE_HOME"]
KEPT += ["http_proxy", "HTTPS_PROXY", "NO_PROXY", "no_proxy"]
WITHHELD = ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_REGION", "HF_TOKEN", "SAGEMAKER_PROGRAM", "SM_MODEL_DIR"]
WITHHELD += ["OMP_NUM_THREADS", "TERM", "Path", "LANGX"]


@pytest.mark.parametrize("name", KEPT)
def test_a_process_gets_what_it_needs_to_run_on_this_machine(name: str) -> None:
    assert is_inherited(name)


@pytest.mark.parametrize("name", WITHHELD)
def test_nothing_else_of_a_shell_is_there_as_on_sagemaker(name: str) -> None:
    assert not is_inherited(name)
    assert InheritedEnvironment({name: "1", "PATH": "/bin"}).variables == {"PATH": "/bin"}


def test_everything_is_there_if_that_is_wanted() -> None:
    shell = {"HF_TOKEN": "1", "PATH": "/bin", "TERM": "xterm"}
    inherited = InheritedEnvironment(shell, everything=True)
    assert inherited.variables == shell
    assert inherited.missed_by("KeyError: 'HF_TOKEN'") == ""


@pytest.mark.parametrize(
    "line",
    [
        "KeyError: 'HF_TOKEN'",
        "2026-01-01 12:00 [INFO] W-9000-model_1-stdout MODEL_LOG - KeyError: 'HF_TOKEN' ",
        'ModelError: KeyError: "HF_TOKEN"',
        "serve.sh: line 3: HF_TOKEN: unbound variable",
        "serve.sh: 3: HF_TOKEN: parameter not set",
    ],
)
def test_a_line_that_says_that_a_variable_of_the_shell_is_missing_gets_one_warning(line: str) -> None:
    inherited = InheritedEnvironment({"HF_TOKEN": "secret", "PATH": "/bin"})
    warning = inherited.missed_by(line)
    assert warning.startswith("HF_TOKEN is set in the shell") and '--env HF_TOKEN="$HF_TOKEN"' in warning
    assert "secret" not in warning
    assert inherited.missed_by(line) == ""


@pytest.mark.parametrize(
    "line", ["KeyError: 'SOMETHING_ELSE'", "KeyError: 'TERM'", "HF_TOKEN", "KeyError: 'PATH'", "a: unbound variable"]
)
def test_other_lines_get_none(line: str) -> None:
    assert InheritedEnvironment({"HF_TOKEN": "1", "TERM": "xterm", "PATH": "/bin"}).missed_by(line) == ""


@pytest.mark.parametrize(
    "text",
    [
        "TOKEN = os.environ.get('HF_TOKEN')",
        'TOKEN = os.environ["HF_TOKEN"]',
        "getenv('HF_TOKEN', '')",
        "#!/bin/sh\nexec serve --token ${HF_TOKEN:-none}",
        "exec serve $HF_TOKEN",
    ],
)
def test_a_handler_or_a_script_that_reads_a_variable_of_the_shell_gets_the_warning_at_once(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "handler").write_text(text)
    shell = {"HF_TOKEN": "1", "OTHER": "2", "AWS_REGION": "3"}
    for word in (f"{tmp_path}/handler", f"{tmp_path}/handler:name"):
        warning = InheritedEnvironment(shell).missed_in(["python", "--handler", word])
        assert warning.startswith("HF_TOKEN is set in the shell")
    (tmp_path / "handler").write_bytes(b"\0" + text.encode())
    assert InheritedEnvironment(shell).missed_in([f"{tmp_path}/handler", str(tmp_path)]) == ""


def test_several_variables_share_a_warning(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("$TWO ${ONE}")
    warning = InheritedEnvironment({"ONE": "1", "TWO": "2"}).missed_in([str(tmp_path / "run.sh")])
    assert warning.startswith("ONE, TWO are set") and '--env ONE="$ONE" --env TWO="$TWO"' in warning


def test_the_emulator_is_called_past_a_proxy() -> None:
    assert past_proxies({"PATH": "/bin"}, ["127.0.0.1"]) == {}
    assert past_proxies({"no_proxy": "a"}, ["127.0.0.1"]) == {}
    proxied = past_proxies({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a,127.0.0.1"}, ["127.0.0.1", "localhost"])
    assert proxied == {"no_proxy": "a,127.0.0.1,localhost", "NO_PROXY": "a,127.0.0.1,localhost"}
