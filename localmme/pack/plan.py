"""What an archive is made of: the source's own files, and the entry point that is put beside them, if any."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from emulator.errors import SetupError
from localmme.pack import huggingface_model
from localmme.pack.flavors import NONE, TITLES, is_served_as_it_is, model_of_directory, model_of_file
from localmme.pack.jobs import Job
from localmme.pack.model import ENTRY_POINT, Model


@dataclass(frozen=True)
class Plan:
    """An archive to make.

    model: what the source was recognized as, if an entry point is written for it.
    entry_point: the content of ``code/inference.py`` where the source has none.
    notes: what the user should know of it, in sentences.
    why_none: why there is no entry point to write, in a sentence.
    """

    source: Path
    archive: Path
    model: Model | None = None
    entry_point: bytes | None = None
    notes: tuple[str, ...] = ()
    why_none: str = ""


def plan_of(job: Job, *, handler: str | None, flavor: str | None, task: str | None) -> Plan:
    """Recognize the model, and choose its entry point: the user's ``handler``, or that of its flavor.

    Raises SetupError when the source is nothing that can be packed, or the options do not fit it.
    """
    if handler is not None:
        return _with_handler(job, Path(handler).expanduser())
    if flavor == NONE:
        return Plan(job.source, job.archive, why_none="--flavor none says so.")
    if job.source.is_dir():
        if flavor is not None:
            _check_place(job.source, f"--flavor {flavor}")
        model = model_of_directory(job.source, flavor, task)
        if model is None:
            why_none, notes = _why_none(job.source)
            return Plan(job.source, job.archive, notes=notes, why_none=why_none)
    else:
        model = model_of_file(job.source, flavor)
        if model is None:
            raise SetupError(_unknown(job.source))
    if task is not None and "TASK" not in model.constants:
        raise SetupError(f"--task is for pipelines of Hugging Face, and this is another model: {model.description}.")
    return Plan(job.source, job.archive, model, model.entry_point(), (_note(job.name, model), *model.notes))


def _with_handler(job: Job, handler: Path) -> Plan:
    _check_place(job.source, "--handler")
    try:
        content = handler.read_bytes()
    except OSError as error:
        raise SetupError(f"The handler {handler} cannot be read: {error.strerror}.") from None
    return Plan(job.source, job.archive, entry_point=content, notes=(f"{ENTRY_POINT} is {handler}.",))


def _check_place(source: Path, option: str) -> None:
    """Raises SetupError when there is an entry point, or something in its way."""
    if os.path.lexists(source / ENTRY_POINT):
        raise SetupError(f"{source} has {ENTRY_POINT} already. Pack it without {option}, or move that file away.")
    code = source / ENTRY_POINT.partition("/")[0]
    if os.path.lexists(code) and not code.is_dir():
        raise SetupError(f"{code} is where {option} needs a directory. Rename that file.")


def _unknown(file: Path) -> str:
    if file.name.endswith((".tar.gz", ".tgz")):
        return f"{file} is an archive, not a directory or a model. To look into it: localmme pack --verify {file}"
    return (
        f"{file} is not recognized as a model: pack knows {', '.join(TITLES)}. Name its flavor with --flavor, or the "
        "handler that loads it with --handler; or pack the directory that it is in."
    )


def _why_none(directory: Path) -> tuple[str, tuple[str, ...]]:
    """Why no entry point is written, and the notes about that."""
    if is_served_as_it_is(directory):
        return "it has a handler, or needs none.", ()
    if huggingface_model.is_model(directory):
        why = "neither config.json nor README.md names the task of its pipeline. Name it: --task NAME."
        return why, (f"pack wrote no {ENTRY_POINT}: {why}",)
    return "it is not one model that pack recognizes. Name it with --flavor, or a handler with --handler.", ()


def _note(source: str, model: Model) -> str:
    return (
        f"{model.description}. pack wrote {ENTRY_POINT} for it, which needs {', '.join(model.packages)}. "
        f"To read it: localmme pack --show {shlex.quote(source)}"
    )
