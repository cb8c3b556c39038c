"""What ``localmme env`` exports, whatever the user has set; and which emulator commands talk to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import click
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader
from botocore.session import Session
from click.testing import CliRunner

from emulator.events import EndpointStatus, Events, Origin
from emulator.observers.terminal import TerminalLog
from emulator.state_directory import DEFAULT_URL, EmulatorRecord
from localmme import background, emulator_client
from localmme.aws_environment import aws_environment, emulator_environment
from localmme.cli import main as cli
from localmme.cli.emulator_options import of_an_emulator
from localmme.exported_variables import RECORD, Exported

URL = DEFAULT_URL
KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
MODELS = Loader()  # of the services, read once
STATIC = "aws_access_key_id = AKIAMINE\naws_secret_access_key = s3cret\n"


@contextmanager
def environment(tmp_path: Path, **own: str) -> Iterator[None]:
    """Somebody who has set nothing else for AWS, and whose home is there."""
    nothing = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with mock.patch.dict(os.environ, {**nothing, "HOME": str(tmp_path), **own}, clear=True):
        yield


def exported(tmp_path: Path, region: str = "us-east-1", **own: str) -> dict[str, str]:
    with environment(tmp_path, **own):
        return aws_environment(URL, region).variables


def access_key(tmp_path: Path, settings: dict[str, str]) -> str:
    """The key with which a client of that environment signs. Raises BotoCoreError when it cannot be made."""
    with environment(tmp_path, **settings):
        session = Session()
        session.register_component("data_loader", MODELS)
        session.create_client("sagemaker-runtime")
        return session.get_credentials().get_frozen_credentials().access_key


def test_env_leaves_the_users_own_credentials_alone(tmp_path: Path) -> None:
    settings = exported(tmp_path)
    assert settings["AWS_ENDPOINT_URL"] == "http://127.0.0.1:8080"
    assert settings["AWS_REGION"] == settings["AWS_DEFAULT_REGION"] == "us-east-1"
    assert settings.keys() > KEYS

    keys = {"AWS_ACCESS_KEY_ID": "AKIAMINE", "AWS_SECRET_ACCESS_KEY": "s3cret"}
    settings = exported(tmp_path, "eu-west-1", AWS_DEFAULT_REGION="eu-west-1", **keys)
    assert not {*KEYS, "AWS_DEFAULT_REGION"} & settings.keys()
    assert settings["AWS_REGION"] == "eu-west-1"


def test_env_exports_the_region_that_the_emulator_is_in(tmp_path: Path) -> None:
    settings = exported(tmp_path, "eu-west-1", AWS_REGION="eu-west-1", AWS_DEFAULT_REGION="eu-central-1")
    assert settings["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert "AWS_REGION" not in settings
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\nregion = eu-west-1\n")
    assert exported(tmp_path)["AWS_DEFAULT_REGION"] == "us-east-1"


def test_env_adds_to_what_the_user_has_for_python_and_the_sagemaker_sdks(tmp_path: Path) -> None:
    settings = exported(tmp_path, PYTHONPATH="my modules", BOTOCORE_EXPERIMENTAL__PLUGINS="mine=my_plugin")
    assert settings["PYTHONPATH"].partition(":")[2] == "my modules"
    assert settings["BOTOCORE_EXPERIMENTAL__PLUGINS"].partition(",")[2] == "mine=my_plugin"
    again = ("AWS_ENDPOINT_URL", "BOTOCORE_EXPERIMENTAL__PLUGINS", "PYTHONPATH")
    assert exported(tmp_path, **settings) == {name: settings[name] for name in again}
    assert "TelemetryOptOut: true" in Path(settings["SAGEMAKER_ADMIN_CONFIG_OVERRIDE"]).read_text()
    assert "SAGEMAKER_ADMIN_CONFIG_OVERRIDE" not in exported(tmp_path, SAGEMAKER_ADMIN_CONFIG_OVERRIDE="mine.yaml")
    off = exported(tmp_path, BOTOCORE_EXPERIMENTAL__PLUGINS="DISABLED")
    assert "BOTOCORE_EXPERIMENTAL__PLUGINS" not in off


def test_env_has_clients_pass_by_a_proxy(tmp_path: Path) -> None:
    assert "NO_PROXY" not in exported(tmp_path, NO_PROXY="", no_proxy="")
    settings = exported(tmp_path, http_proxy="http://proxy:3128", no_proxy="intranet")
    assert settings["NO_PROXY"] == settings["no_proxy"] == "127.0.0.1,intranet"
    assert "NO_PROXY" not in exported(tmp_path, http_proxy="http://proxy:3128", no_proxy="127.0.0.1")


BROKEN = {
    "a profile that is not there": ({}, {"AWS_PROFILE": "missing"}),
    "the older variable for it": ({}, {"AWS_DEFAULT_PROFILE": "missing", "AWS_PROFILE": "missing"}),
    "an empty profile": ({}, {"AWS_PROFILE": ""}),
    "a file that is none": ({"config": "[default\nregion"}, {}),
    "bytes": ({"config": "[default]\nregion = \udcff\n"}, {}),
    "settings below nothing": ({"config": "[default]\ns3 =\n  x\n"}, {}),
    "credentials that are none": ({"credentials": "aws_access_key_id = x"}, {}),
    "a file elsewhere": ({"elsewhere": "region"}, {"AWS_CONFIG_FILE": "{home}/.aws/elsewhere"}),
    "a profile of a file that is not there": ({}, {"AWS_CONFIG_FILE": "{home}/none", "AWS_PROFILE": "dev"}),
}


@pytest.mark.parametrize("files, own", BROKEN.values(), ids=BROKEN)
def test_a_configuration_that_cannot_be_used_is_replaced_with_one_line_of_warning(
    tmp_path: Path, files: dict[str, str], own: dict[str, str]
) -> None:
    own = written(tmp_path, files, own)
    with pytest.raises(BotoCoreError):
        access_key(tmp_path, {"AWS_DEFAULT_REGION": "us-east-1", **own})
    with environment(tmp_path, **own):
        exports = aws_environment(URL, "us-east-1")
        others = emulator_environment(URL, "us-east-1")
    assert access_key(tmp_path, {**own, **exports.variables}) == "localmme"
    assert access_key(tmp_path, {**own, **others}) == "localmme"
    assert exports.warning.startswith("Your AWS configuration cannot be used: ") and "\n" not in exports.warning


NOT_FETCHED = {
    "a program that fails": ("credential_process = false\n", {}),
    "a program that waits for a code": ("credential_process = cat\n", {}),
    "a session that has expired": (
        "sso_start_url = https://x.invalid\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = r\n", {}
    ),
    "a role of a profile that is not there": ("role_arn = arn:aws:iam::1:role/r\nsource_profile = none\n", {}),
    "half of the keys": ("aws_access_key_id = AKIAHALF\n", {}),
    "half of the keys in the environment": ("", {"AWS_ACCESS_KEY_ID": "AKIAHALF"}),
}  # fmt: skip


@pytest.mark.parametrize("config, own", NOT_FETCHED.values(), ids=NOT_FETCHED)
def test_credentials_that_would_have_to_be_fetched_are_replaced_by_placeholders(
    tmp_path: Path, config: str, own: dict[str, str]
) -> None:
    own = written(tmp_path, {"config": f"[default]\n{config}"}, own)
    with environment(tmp_path, **own):
        exports = aws_environment(URL, "us-east-1")
    assert access_key(tmp_path, {**own, **exports.variables}) == "localmme"
    assert exports.warning == ""


@pytest.mark.parametrize(
    "files, own",
    [
        ({"credentials": f"[default]\n{STATIC}"}, {}),
        ({"config": f"[profile dev]\n{STATIC}"}, {"AWS_PROFILE": "dev"}),
        ({"elsewhere": f"[default]\n{STATIC}"}, {"AWS_SHARED_CREDENTIALS_FILE": "{home}/.aws/elsewhere"}),
    ],
)
def test_keys_in_a_file_stay_the_users_own(tmp_path: Path, files: dict[str, str], own: dict[str, str]) -> None:
    own = written(tmp_path, files, own)
    with environment(tmp_path, **own):
        exports = aws_environment(URL, "us-east-1")
    assert access_key(tmp_path, {**own, **exports.variables}) == "AKIAMINE"


def written(home: Path, files: dict[str, str], own: dict[str, str]) -> dict[str, str]:
    """Write files below ``.aws``; the variables, with the home's name in them."""
    (home / ".aws").mkdir()
    for name, content in files.items():
        (home / ".aws" / name).write_text(content, errors="surrogateescape")
    return {name: value.format(home=home) for name, value in own.items()}


# Which emulator


def running(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let emulators of these names run; one of figures is at that port."""
    records = []
    for number, name in enumerate(names):
        url = f"http://127.0.0.1:{name if name.isdecimal() else 40000 + number}"
        records.append(EmulatorRecord(name, url, 1, "", "us-east-1", 1.0, ""))
    monkeypatch.setattr(background.state_directories, "all_living", lambda: records)


def asked_for(*arguments: str) -> str:
    """Which address a command with these arguments asks, or its error."""

    @click.group(cls=cli.Commands)
    def main() -> None:
        pass

    @main.command()
    @of_an_emulator
    def ask(url: str, endpoint_name: str) -> None:
        click.echo(url)

    return CliRunner().invoke(main, ["ask", *arguments]).output.strip()


def test_a_command_finds_the_only_emulator_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOCALMME_URL", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(variable, raising=False)
    running(monkeypatch)
    assert asked_for() == DEFAULT_URL
    running(monkeypatch, "houses")
    assert asked_for() == "http://127.0.0.1:40000"
    assert asked_for("--url", "http://127.0.0.1:1") == "http://127.0.0.1:1"
    running(monkeypatch, "houses", "8080")
    assert asked_for() == DEFAULT_URL
    running(monkeypatch, "houses", "cities")
    assert asked_for() == "Error: Running: houses, cities. Say which, with --name."
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2")
    assert asked_for() == "http://127.0.0.1:2"


@pytest.mark.parametrize(
    "url", ["foo", "localhost:8080", "http://", "http://[::1", "http://localhost:99999", "s3://models"]
)
def test_what_is_no_address_is_refused_with_what_is_one(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.delenv("LOCALMME_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    rule = f"is {url!r}, which is not a valid address. Write it as in {DEFAULT_URL}."
    assert asked_for("--url", url) == f"Error: --url {rule}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    assert asked_for() == f"Error: AWS_ENDPOINT_URL {rule}"


def test_env_exports_nothing_when_nothing_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, "houses")
    result = CliRunner().invoke(cli.main, ["env", "--url", "http://127.0.0.1:9"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No emulator answers at http://127.0.0.1:9." in result.stderr
    assert "Running: houses; say which, with --name." in result.stderr


# What a person sees at first


def test_no_line_of_the_help_is_cut_at_80_columns() -> None:
    shown = CliRunner().invoke(cli.main, ["--help"], terminal_width=80).output
    assert "..." not in shown.replace("[ARGS]...", "")
    listed = shown.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in listed] == sorted(cli.main.commands)
    assert all(line.endswith(".") for line in listed)


@pytest.mark.parametrize("url, which", [(DEFAULT_URL, ""), ("http://127.0.0.1:9", " --url http://127.0.0.1:9")])
def test_what_to_do_next_is_said_once_and_to_a_terminal_only(
    url: str, which: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = Events(Origin("local", "us-east-1"))
    monkeypatch.setenv("NO_COLOR", "1")
    log = TerminalLog(url, {})
    log.listen_to(events)
    log._since["Endpoint local"] = 0.0
    events.publish(EndpointStatus("InService"))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    events.publish(EndpointStatus("InService"))
    events.publish(EndpointStatus("InService"))
    out, err = capsys.readouterr()
    assert err.count(f'eval "$(localmme env{which})"') == 1 and f"localmme models{which} " in err
    assert out.startswith(f"Endpoint local is InService at {url} (")


def test_state_shows_all_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = {"endpoint_name": "mine", "status": "InService", "failure_reason": "", "models": [], "variants": []}
    told = {"url": URL, "endpoints": [endpoint]}
    monkeypatch.setattr(emulator_client, "page", lambda url, name: told)
    shown = CliRunner().invoke(cli.main, ["state", "--url", URL])
    assert f"localmme at {URL}" in shown.output and "Endpoint mine, InService" in shown.output
    shown = CliRunner().invoke(cli.main, ["state", "--url", URL, "--json"])
    assert json.loads(shown.output) == told


def model_error(status: int, said: str) -> ClientError:
    error = {"Code": "ModelError", "Message": f"Received server error from primary with {said}. See https://console..."}
    return ClientError({"Error": error, "OriginalStatusCode": status, "OriginalMessage": said}, "InvokeEndpoint")


def test_of_a_model_error_the_containers_own_words_come_first() -> None:
    embedded = json.dumps({"code": 500, "type": "InternalServerException", "message": "KeyError: 'rooms'"}, indent=2)
    said = "KeyError: 'rooms' (ModelError: status 500 from the container; its log has more)"
    assert emulator_client.error_text(model_error(500, embedded)) == said
    assert emulator_client.error_text(model_error(400, "no rooms\n")).startswith("no rooms (ModelError: status 400 ")
    assert emulator_client.error_text(model_error(500, "[1]")).startswith("[1] (")
    assert emulator_client.error_text(model_error(500, "")).startswith("ModelError: Received server error")
    refusal = ClientError({"Error": {"Code": "ValidationError", "Message": "no"}}, "InvokeEndpoint")
    assert emulator_client.error_text(refusal) == "ValidationError: no"


def test_a_model_that_is_not_there_brings_one_of_nearly_that_name_to_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [{"target_model": "europe/Lisbon.tar.gz", "in_s3": True}, {"target_model": "gone", "in_s3": False}]
    monkeypatch.setattr(emulator_client, "endpoint_state", lambda url, name: {"models": models})
    answer = {"Error": {"Code": "ValidationError", "Message": "Failed to download model data(bucket: b, key: k)."}}
    missing = ClientError(answer, "InvokeEndpoint")
    assert (
        emulator_client._did_you_mean(URL, "e", "europe/lisbno.tar.gz", missing)
        == " Did you mean europe/Lisbon.tar.gz?"
    )
    assert emulator_client._did_you_mean(URL, "e", "europe/lisbon", missing) == " Did you mean europe/Lisbon.tar.gz?"
    assert emulator_client._did_you_mean(URL, "e", "gone", missing) == ""
    assert emulator_client._did_you_mean(URL, "e", "europe/lisbno.tar.gz", model_error(500, "x")) == ""


# Taking it back


def test_what_was_exported_is_taken_back(tmp_path: Path) -> None:
    own = {"AWS_REGION": "eu-west-1", "PATH": "/bin", "PYTHONPATH": "mine", "NO_PROXY": "intranet", "HOME": "h"}
    environment = dict(own)
    for address, commands in (("http://127.0.0.1:1", "/a/bin"), ("http://127.0.0.1:2", "/b/bin")):  # of one and another
        variables = {"AWS_ENDPOINT_URL": address, "AWS_REGION": "us-east-1", "AWS_PROFILE": "default"}
        variables |= {"PATH": f"{commands}:{environment['PATH']}", "PYTHONPATH": "ours:mine"}
        exported = Exported.to(environment, variables).after(Exported.recorded_in(environment))
        environment |= {**variables, RECORD: exported.record()}
    environment |= {"AWS_PROFILE": "other", "PATH": f"/venv/bin:{environment['PATH']}"}  # set since
    back = Exported.recorded_in(environment).taken_back(environment)
    assert back == {"AWS_ENDPOINT_URL": None, "AWS_REGION": "eu-west-1", "PATH": "/venv/bin:/bin", "PYTHONPATH": "mine"}
    assert Exported.recorded_in({RECORD: "{"}).taken_back(own) == {}


@pytest.mark.parametrize("shell, unset", [("bash", "unset"), ("zsh", "unset"), ("fish", "set -e")])
def test_unset_prints_what_the_shell_understands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, unset: str
) -> None:
    exported = Exported({"AWS_REGION": ("us-east-1", "it's"), "AWS_ENDPOINT_URL": (URL, None)}, {})
    own = {"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": URL, RECORD: exported.record()}
    ancestors = [mock.Mock(**{"name.return_value": name}) for name in ("uv", shell, "bash")]
    monkeypatch.setattr("psutil.Process.parents", lambda _: ancestors)
    with environment(tmp_path, **own):
        result = CliRunner().invoke(cli.main, ["env", "--unset"])
    assert result.output.splitlines() == [
        "export AWS_REGION='it'\"'\"'s'",
        f"{unset} AWS_ENDPOINT_URL {RECORD}",
    ]
    with environment(tmp_path):
        assert CliRunner().invoke(cli.main, ["env", "--unset"]).output == ""
