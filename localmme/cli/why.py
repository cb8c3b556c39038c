"""``localmme why``: the story of one model."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from localmme.cli.completion import target_models
from localmme.cli.emulator_options import where_an_emulator_is


@click.command(short_help="Tell why a model is in memory, or was not.")
@click.argument("model", shell_complete=target_models)
@click.option("--at", metavar="TIME", help="The time in question: 12:03, 12:03:20, or ISO 8601. [default: now]")
@click.option("--endpoint-name", metavar="NAME", help="The endpoint's name. [default: the one that has the model]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the entries themselves.")
@where_an_emulator_is
def why(model: str, at: str | None, endpoint_name: str | None, as_json: bool, url: str) -> None:
    """Tell what became of MODEL: when and where it was downloaded, loaded and called, for which model it was evicted,
    how it failed; and why it is in memory or not, or why a call at that time was cold."""
    from localmme import model_story
    from localmme.moments import parse_moment

    now = time.time()
    moment = parse_moment(at, now) if at is not None else None
    story = model_story.read(url, model, endpoint_name, now)
    answer = story.answer(moment)
    if as_json:
        document: dict[str, Any] = {
            "endpoint_name": story.endpoint_name,
            "target_model": story.target_model,
            "at": moment,
            "answer": answer,
            "is_whole": story.is_whole,
            "entries": story.entries,
        }
        click.echo(json.dumps(document, indent=2))
    else:
        model_story.show(story, answer)
