"""``localmme fault``."""

from __future__ import annotations

import json
from typing import Any

import click

from emulator.printable import printable
from localmme.cli.emulator_options import where_an_emulator_is


@click.command(short_help="Make calls fail, wait or break off, to see what comes of it.")
@click.argument("fault", metavar="NAME|list|clear")
@click.option("--times", metavar="N", type=click.IntRange(1), help="How many calls. [default: all, until cleared]")
@click.option("--endpoint", "endpoint_name", metavar="NAME", help="Only calls of this endpoint.")
@click.option("--model", "target_model", metavar="GLOB", help="Only calls of such target models: 'europe/*'.")
@click.option("--message", metavar="TEXT", help="The error's message, in place of AWS's.")
@click.option("--status", metavar="N", type=int, help="Of a ModelError: the container's status.")
@click.option("--seconds", metavar="S", type=float, help="Of Latency and SlowS3: how much longer it takes.")
@click.option("--jitter", "jitter_seconds", metavar="S", type=float, help="Of Latency: at random, up to so much more.")
@click.option("--chunks", metavar="N", type=int, help="Of what breaks streams: after so many chunks.")
@click.option("--fraction", metavar="X", type=float, help="Of ScarceMemory: how much there is, from 0 to 1.")
@click.option("--bytes-per-second", metavar="N", type=int, help="Of SlowS3: how fast archives are downloaded.")
@click.option("--instance", "instance_id", metavar="ID", help="Of KillContainer and LoseInstance: which one.")
@click.option("--number", metavar="N", type=int, help="With clear: only this fault, as list shows it.")
@click.option("--json", "as_json", is_flag=True, help="With list: print a JSON list.")
@where_an_emulator_is
def fault(fault: str, number: int | None, as_json: bool, url: str, **options: Any) -> None:
    """Make calls fail, wait or break off, as AWS's do, to see what an application makes of it.

    NAME is the code of an error: ThrottlingException, ModelNotReadyException, ServiceUnavailable, InternalFailure,
    InternalDependencyException, ModelError, AccessDeniedException, ValidationError; in streams ModelStreamError,
    InternalStreamFailure; or Latency, ConnectionCut. ScarceMemory and SlowS3 are of what surrounds instances;
    KillContainer and LoseInstance happen at once.
    """
    from localmme import emulator_client

    if fault == "clear":
        cleared = emulator_client.act(url, "clear-faults", {} if number is None else {"number": number})
        click.echo(cleared["message"])
    elif fault == "list":
        _print(emulator_client.act(url, "faults", {}), as_json)
    else:
        given = {member: value for member, value in options.items() if value is not None}
        click.echo(printable(emulator_client.act(url, "fault", {"fault": fault, **given})["message"]))


def _print(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(answer["faults"], indent=2))
    elif answer["faults"]:
        for each, sentence in zip(answer["faults"], answer["sentences"], strict=True):
            click.echo(printable(f"{each['number']}  {sentence}"))
    else:
        click.echo(answer["message"])
