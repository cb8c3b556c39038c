"""The commands for a running emulator's endpoints: ``invoke``, ``models``, ``state``, ``open``, ``env``."""

from __future__ import annotations

import json
import os
import shlex

import click

from emulator.printable import printable
from localmme.cli.completion import target_models
from localmme.cli.emulator_options import of_an_emulator, where_an_emulator_is

SHELLS = ("bash", "zsh", "fish", "sh", "dash", "ksh")


@click.command(short_help="Invoke a model, and print the answer.")
@click.argument("model", shell_complete=target_models)
@click.option("--data", metavar="@FILE|TEXT|-", required=True, help="The request's body: a file, a text, or stdin.")
@click.option("--content-type", help="Content type of the request. [default: detected from the data]")
@click.option("--accept", help="Content type that the answer should have.")
@click.option("--output", metavar="FILE", help="Write the answer's body there instead of to stdout.")
@of_an_emulator
def invoke(
    model: str,
    data: str,
    content_type: str | None,
    accept: str | None,
    output: str | None,
    url: str,
    endpoint_name: str,
) -> None:
    """Invoke MODEL (a TargetModel, the archive's path below the models directory) and print the answer."""
    from localmme import emulator_client
    from localmme.cli.answer import write
    from localmme.request_data import guess_content_type, read_data

    body = read_data(data)
    request = {"Accept": accept} if accept else {}
    request["ContentType"] = content_type or guess_content_type(data, body)
    write([emulator_client.invoke(url, endpoint_name, model, body, **request)], output)


@click.command(short_help="List the models: in S3, on disk, in memory.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@of_an_emulator
def models(as_json: bool, url: str, endpoint_name: str) -> None:
    """List the models: where each is (S3, disk, memory), and how often it was used."""
    from localmme import emulator_client
    from localmme.tables import exists

    listed = [model for model in emulator_client.endpoint_state(url, endpoint_name)["models"] if exists(model)]
    if as_json:
        click.echo(json.dumps(listed, indent=2))
    else:
        emulator_client.print_models(listed)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@where_an_emulator_is
def state(as_json: bool, url: str) -> None:
    """Show an emulator's endpoints, instances and models."""
    from localmme import emulator_client

    current = emulator_client.state(url)
    if as_json:
        click.echo(json.dumps(current, indent=2))
    else:
        emulator_client.print_state(current)


@click.command("open", short_help="Open the emulator's page in a browser.")
@where_an_emulator_is
def open_page(url: str) -> None:
    """Open the emulator's page in a browser, and print its address: models, memory, events and calls, live.

    Where there is no browser, as over ssh, it only prints the address. With an access file, the browser is logged in as
    the user whose AWS credentials are set.
    """
    from localmme import browser

    browser.show(url)


@click.command(short_help="Print the environment for boto3 and the AWS CLI.")
@click.option(
    "--unset",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, value: _unset(context) if value else None,
    help="Print what takes back all that it has exported.",
)
@of_an_emulator
def env(url: str, endpoint_name: str) -> None:
    """Print the environment with which boto3 and the AWS CLI talk to the emulator: eval "$(localmme env)".

    On its PATH is a `docker` that knows the emulator's ECR: docker login, push and pull.
    """
    from localmme.aws_environment import aws_environment
    from localmme.emulator_client import health
    from localmme.engine_cli import launchers
    from localmme.exported_variables import RECORD, Exported
    from localmme.state_directories import living_at

    region, record = health(url)["region"], living_at(url)
    exports = aws_environment(url, region, launchers.write(record.directory) if record else None)
    if exports.warning:
        click.echo(f"Warning: {printable(exports.warning)}", err=True)
    exported = Exported.to(os.environ, exports.variables).after(Exported.recorded_in(os.environ))
    for name, value in {**exports.variables, RECORD: exported.record()}.items():
        click.echo(f"export {name}={shlex.quote(value)}")


def _unset(context: click.Context) -> None:
    from localmme.exported_variables import RECORD, Exported

    back = Exported.recorded_in(os.environ).taken_back(os.environ)
    unset = [name for name, value in {**back, RECORD: None}.items() if value is None and name in os.environ]
    for name, value in back.items():
        if value is not None:
            click.echo(f"export {name}={shlex.quote(value)}")
    if unset:
        click.echo(f"{'set -e' if _is_fish() else 'unset'} {' '.join(unset)}")
    context.exit()


def _is_fish() -> bool:
    """Whether it is fish that reads what is printed: the one shell that has no ``unset``."""
    import psutil

    names = (each.name() for each in psutil.Process().parents())
    return next((name for name in names if name in SHELLS), "") == "fish"
