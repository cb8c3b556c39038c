"""The usual mistakes in a model archive, recognized by its entries; each with a remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from emulator.archives.left_out import is_macos_metadata
from emulator.printable import printable
from emulator.sizes import format_size
from localmme.pack.entry import ArchiveEntry

# Where containers look for a handler, and model servers for its description.
ENTRY_POINTS = ("code/inference.py", "inference.py", "code/model_handler.py", "model_handler.py")
REQUIREMENTS = "code/requirements.txt"  # which single-model containers install when they start
MANIFEST = "MAR-INF/MANIFEST.json"
_PACKED = (".tar.gz", ".tgz", ".tar", ".zip")


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with an archive.

    name: docs/pack.md lists all names.
    verdict: "fail" when the archive does not work, "warn" when it may not, or not everywhere.
    detail: what is wrong, in a sentence.
    remedy: what to do about it, in a sentence.
    """

    name: str
    verdict: Literal["fail", "warn"]
    detail: str
    remedy: str


def mistakes_in(entries: Sequence[ArchiveEntry]) -> list[Mistake]:
    """The mistakes in an archive of these entries, which can be extracted."""
    own = [entry for entry in entries if entry.name and not is_macos_metadata(entry.name)]
    found = (look_for(own) for look_for in _MISTAKES)
    return [mistake for mistake in (_macos_metadata(entries), *found) if mistake]


def first_names(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    listed = list(names)
    first = ", ".join(printable(name) for name in listed[:3])
    return first if len(listed) <= 3 else f"{first} and {len(listed) - 3} more"


def _macos_metadata(entries: Sequence[ArchiveEntry]) -> Mistake | None:
    names = [entry.name for entry in entries if is_macos_metadata(entry.name)]
    if not names:
        return None
    return Mistake(
        "macos-metadata",
        "warn",
        f"It holds metadata of macOS: {first_names(names)}.",
        "Make it with localmme pack, which leaves that out, or with COPYFILE_DISABLE=1 tar.",
    )


def _empty(entries: Sequence[ArchiveEntry]) -> Mistake | None:
    if any(entry.kind != "directory" for entry in entries):
        return None
    return Mistake("empty", "fail", "There is no file in it.", "Put the model's files into it.")


def _wrapping_folder(entries: Sequence[ArchiveEntry]) -> Mistake | None:
    folders = {entry.name.partition("/")[0] for entry in entries}
    below = [entry.name.partition("/")[2] for entry in entries]
    if len(folders) != 1 or not any(below):
        return None
    folder = folders.pop()
    steps = {name.partition("/")[0] for name in below if name}
    if folder in ("code", "MAR-INF") or folder.isdecimal():
        return None
    if "config.pbtxt" in steps or any(step.isdecimal() for step in steps):
        return None  # a model's directory with its versions: that is how Triton and TensorFlow Serving want it
    wrapped = sorted(steps & {"code", "MAR-INF", "inference.py", "model_handler.py"})
    detail = f"All of it is in one folder, {printable(folder)}/"
    if wrapped:
        detail += f", where containers do not look for {first_names(wrapped)}"
    remedy = f"Pack what is in the folder, not the folder: localmme pack .../{printable(folder)}."
    return Mistake("wrapping-folder", "warn", f"{detail}.", remedy)


def _code_without_entry_point(entries: Sequence[ArchiveEntry]) -> Mistake | None:
    names = {entry.name for entry in entries}
    if not any(name == "code" or name.startswith("code/") for name in names):
        return None
    if MANIFEST in names or names.intersection(ENTRY_POINTS):
        return None
    programs = sorted(name for name in names if name.startswith("code/") and name.endswith(".py"))
    detail = f"code/ has {first_names(programs)}, but no inference.py." if programs else "code/ has no inference.py."
    remedy = "Name the handler code/inference.py, or set SAGEMAKER_PROGRAM; a handler of the container's own is fine."
    return Mistake("code-without-entry-point", "warn", detail, remedy)


def _requirements(entries: Sequence[ArchiveEntry]) -> Mistake | None:
    if not any(entry.name == REQUIREMENTS for entry in entries):
        return None
    detail = f"It holds {REQUIREMENTS}, of which SageMaker's multi-model containers install nothing."
    remedy = "Install it when the container's image is built, or put the modules themselves into code/."
    return Mistake("requirements", "warn", detail, remedy)


def _symbolic_links(entries: Sequence[ArchiveEntry]) -> Mistake | None:
    names = [entry.name for entry in entries if entry.kind == "symbolic link"]
    if not names:
        return None
    return Mistake(
        "symbolic-links",
        "warn",
        f"It holds symbolic links: {first_names(names)}. SageMaker may not extract it.",
        "Make it with localmme pack, which packs what links lead to, or with tar --dereference.",
    )


def _hard_links(entries: Sequence[ArchiveEntry]) -> Mistake | None:
    names = [entry.name for entry in entries if entry.kind == "hard link"]
    if not names:
        return None
    return Mistake(
        "hard-links",
        "warn",
        f"It holds hard links: {first_names(names)}. SageMaker may not extract it.",
        "Make it with localmme pack, or with tar --hard-dereference.",
    )


def _unreadable(entries: Sequence[ArchiveEntry]) -> Mistake | None:
    needed = {"file": 0o444, "directory": 0o555}
    names = [entry.name for entry in entries if entry.kind in needed and needed[entry.kind] & ~entry.mode & 0o777]
    if not names:
        return None
    return Mistake(
        "unreadable",
        "warn",
        f"Not everybody may read {first_names(names)}: a container that is not root's cannot load it.",
        "Make it with localmme pack, or after chmod -R a+rX.",
    )


def _version_control(entries: Sequence[ArchiveEntry]) -> Mistake | None:
    repository = [entry for entry in entries if ".git" in entry.name.split("/")]
    if not repository:
        return None
    return Mistake(
        "version-control",
        "warn",
        f"It holds a .git directory, of {format_size(sum(entry.size_bytes for entry in repository))}.",
        "Delete .git from what is packed; with Git LFS it holds every weight a second time.",
    )


def _archive_in_archive(entries: Sequence[ArchiveEntry]) -> Mistake | None:
    names = [entry.name for entry in entries if entry.kind != "directory"]
    if len(names) != 1 or not names[0].endswith(_PACKED):
        return None
    detail = f"All it holds is another archive, {printable(names[0])}, which nobody extracts."
    return Mistake("archive-in-archive", "warn", detail, "Pack what is in that one instead.")


_MISTAKES: tuple[Callable[[Sequence[ArchiveEntry]], Mistake | None], ...] = (
    _empty,
    _wrapping_folder,
    _code_without_entry_point,
    _requirements,
    _symbolic_links,
    _hard_links,
    _unreadable,
    _version_control,
    _archive_in_archive,
)
