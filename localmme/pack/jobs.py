"""Which archives are to be made, and of what: of several models an archive each, and of many in a directory, too."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator.errors import SetupError
from emulator.printable import printable
from emulator.storage.keys import NAME_BYTES
from localmme.pack.flavors import models_in
from localmme.pack.mistakes import first_names

# [api] what TargetModel may hold: it is sent as a header. A name that begins with a dot is hidden from --models. [ours]
_NAME = re.compile(r"[!-\-/-~][ -~]*")


@dataclass(frozen=True)
class Job:
    """One archive to make: of a directory or a file.

    name: the source as the user named it, or as one of many in a directory that the user named.
    """

    source: Path
    archive: Path
    name: str


def jobs_of(
    paths: Mapping[str, Path], output: str | None, *, as_one: bool, ask: Callable[[str], bool] | None = None
) -> list[Job]:
    """The archives to make, in the order of the sources: of these paths, by the names that the user gave them.

    ``as_one``: a directory that holds many models becomes one archive. Otherwise ``ask`` decides whether each model
    becomes one; without it, such a directory is refused. Raises SetupError, with the right command, before anything
    is written.
    """
    sources = [found for name, path in paths.items() for found in _sources(name, path, as_one, ask)]
    directory = _output_directory(output, several=len(sources) > 1)
    jobs: dict[Path, Job] = {}
    for name, source in sources:
        archive = Path(output).expanduser() if output and directory is None else _named_after(source, directory)
        _check(source, archive)
        if archive in jobs:
            raise SetupError(
                f"{jobs[archive].source} and {source} would both become {archive}. "
                "Pack one of them by itself, under another name: -o NAME.tar.gz"
            )
        jobs[archive] = Job(source, archive, name)
    return list(jobs.values())


def _sources(name: str, source: Path, as_one: bool, ask: Callable[[str], bool] | None) -> list[tuple[str, Path]]:
    """A source, or the models in it."""
    models = [] if as_one or not source.is_dir() else models_in(source)
    if not models:
        return [(name, source)]
    names = first_names(model.name for model in models)
    what = f"{printable(str(source))} holds {len(models)} models: {names}."
    if ask is None:
        raise SetupError(
            f"{what} For an archive of each: localmme pack {_pattern(source, models)} -o DIR/. "
            "For one archive of all of it: --as-one"
        )
    each = ask(f"{what} Make an archive of each? (no: one archive of all of it)")
    return [(str(model), model) for model in models] if each else [(name, source)]


def _pattern(directory: Path, models: Sequence[Path]) -> str:
    """What a person types for these models: a pattern, if that is all that it matches; else their names."""
    quoted = shlex.quote(str(directory))
    if all(model.is_dir() for model in models):
        if len(models) == sum(child.is_dir() for child in directory.glob("[!.]*")):
            return f"{quoted}/*/"
    else:
        suffixes = {model.suffix for model in models}
        if len(suffixes) == 1 and len(models) == len(list(directory.glob(f"[!.]*{models[0].suffix}"))):
            return f"{quoted}/*{models[0].suffix}"
    return shlex.join(map(str, models))


def _output_directory(output: str | None, *, several: bool) -> Path | None:
    """The directory for archives that are named after their sources; None if ``output`` is an archive's own name."""
    if output is None:
        return Path()
    path = Path(output).expanduser()
    if os.path.isdir(path):
        return path
    if output.endswith("/"):
        raise SetupError(f"There is no directory {path}. Make it: mkdir -p {path}")
    if several:
        raise SetupError(f"-o {output} names one archive, for several models. Name a directory: -o {path.parent}/")
    return None


def _named_after(source: Path, directory: Path | None) -> Path:
    name = source.resolve().name if source.is_dir() else source.stem
    return (directory or Path()) / f"{name or 'model'}.tar.gz"


def _check(source: Path, archive: Path) -> None:
    """Raises SetupError when the archive cannot be written there, or has a name that cannot be called."""
    if not archive.name.endswith(".tar.gz"):
        raise SetupError(f"SageMaker takes archives named .tar.gz, not {archive.name}. Name it -o {archive}.tar.gz")
    if not archive.parent.is_dir():
        raise SetupError(f"There is no directory {archive.parent}. Make it: mkdir -p {archive.parent}")
    if source.is_dir() and archive.parent.resolve().is_relative_to(source.resolve()):
        raise SetupError(
            f"{archive} is in the directory that is packed, and would become a part of it. "
            "Name another place with -o, such as -o ../name.tar.gz"
        )
    if not _NAME.fullmatch(archive.name) or len(archive.name) > NAME_BYTES:
        raise SetupError(
            f"{archive.name} cannot be a TargetModel: that is printable ASCII, begins with neither a space nor a dot, "
            f"and here has at most {NAME_BYTES} characters. Name it -o {archive.parent / _callable(archive.name)}"
        )


def _callable(name: str) -> str:
    """A name like this one that can be called."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name.removesuffix(".tar.gz")).strip("-.") or "model"
    return f"{stem[:100]}.tar.gz"
