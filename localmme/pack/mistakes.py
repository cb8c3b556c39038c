"""The usual mistakes in a model archive, told from the list of what is in it; each with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from emulator.printable import printable
from emulator.sizes import format_size
from localmme.pack.entry import Entry

# Where a container looks for a handler, or a model server for what describes one.
ENTRY_POINTS = ("code/inference.py", "inference.py", "code/model_handler.py", "model_handler.py")
MANIFEST = "MAR-INF/MANIFEST.json"
_MACOS_NAMES = (".DS_Store", "__MACOSX")
_PACKED = (".tar.gz", ".tgz", ".tar", ".zip")


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with an archive.

    name: of the mistake; docs/pack.md lists them.
    verdict: "fail" when the archive does not work, "warn" when it may not, or not everywhere.
    detail: what is wrong, in a sentence.
    remedy: what to do about it, in a sentence.
    """

    name: str
    verdict: Literal["fail", "warn"]
    detail: str
    remedy: str


def mistakes(entries: Sequence[Entry]) -> list[Finding]:
    """What is wrong with an archive that holds these, though it can be extracted."""
    meant = [entry for entry in entries if entry.name and not is_macos_metadata(entry.name)]
    findings = (mistake(meant) for mistake in _MISTAKES)
    return [finding for finding in (_macos_metadata(entries), *findings) if finding]


def is_macos_metadata(name: str) -> bool:
    """Whether a path is what macOS puts beside the files that a person means."""
    return any(step in _MACOS_NAMES or step.startswith("._") for step in name.split("/"))


def such_as(names: Iterable[str]) -> str:
    """The first names, and how many there are besides."""
    listed = list(names)
    first = ", ".join(printable(name) for name in listed[:3])
    return first if len(listed) <= 3 else f"{first} and {len(listed) - 3} more"


def _macos_metadata(entries: Sequence[Entry]) -> Finding | None:
    names = [entry.name for entry in entries if is_macos_metadata(entry.name)]
    if not names:
        return None
    return Finding(
        "macos-metadata",
        "warn",
        f"It holds metadata of macOS: {such_as(names)}.",
        "Make it with localmme pack, which leaves that out, or with COPYFILE_DISABLE=1 tar.",
    )


def _empty(entries: Sequence[Entry]) -> Finding | None:
    if any(entry.kind != "directory" for entry in entries):
        return None
    return Finding("empty", "fail", "There is no file in it.", "Put the model's files into it.")


def _wrapping_folder(entries: Sequence[Entry]) -> Finding | None:
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
        detail += f", where containers do not look for {such_as(wrapped)}"
    remedy = f"Pack what is in the folder, not the folder: localmme pack .../{printable(folder)}."
    return Finding("wrapping-folder", "warn", f"{detail}.", remedy)


def _code_without_entry_point(entries: Sequence[Entry]) -> Finding | None:
    names = {entry.name for entry in entries}
    if not any(name == "code" or name.startswith("code/") for name in names):
        return None
    if MANIFEST in names or names.intersection(ENTRY_POINTS):
        return None
    programs = sorted(name for name in names if name.startswith("code/") and name.endswith(".py"))
    detail = f"code/ has {such_as(programs)}, but no inference.py." if programs else "code/ has no inference.py."
    remedy = "Name the handler code/inference.py, or set SAGEMAKER_PROGRAM; a handler of the container's own is fine."
    return Finding("code-without-entry-point", "warn", detail, remedy)


def _symbolic_links(entries: Sequence[Entry]) -> Finding | None:
    names = [entry.name for entry in entries if entry.kind == "symbolic link"]
    if not names:
        return None
    return Finding(
        "symbolic-links",
        "warn",
        f"It holds symbolic links: {such_as(names)}. SageMaker may not extract it.",
        "Make it with localmme pack, which packs what links lead to, or with tar --dereference.",
    )


def _hard_links(entries: Sequence[Entry]) -> Finding | None:
    names = [entry.name for entry in entries if entry.kind == "hard link"]
    if not names:
        return None
    return Finding(
        "hard-links",
        "warn",
        f"It holds hard links: {such_as(names)}. SageMaker may not extract it.",
        "Make it with localmme pack, or with tar --hard-dereference.",
    )


def _unreadable(entries: Sequence[Entry]) -> Finding | None:
    needed = {"file": 0o444, "directory": 0o555}
    names = [entry.name for entry in entries if entry.kind in needed and needed[entry.kind] & ~entry.mode & 0o777]
    if not names:
        return None
    return Finding(
        "unreadable",
        "warn",
        f"Not everybody may read {such_as(names)}: a container that is not root's cannot load it.",
        "Make it with localmme pack, or after chmod -R a+rX.",
    )


def _version_control(entries: Sequence[Entry]) -> Finding | None:
    repository = [entry for entry in entries if ".git" in entry.name.split("/")]
    if not repository:
        return None
    return Finding(
        "version-control",
        "warn",
        f"It holds a .git directory, of {format_size(sum(entry.size_bytes for entry in repository))}.",
        "Delete .git from what is packed; with Git LFS it holds every weight a second time.",
    )


def _archive_in_archive(entries: Sequence[Entry]) -> Finding | None:
    names = [entry.name for entry in entries if entry.kind != "directory"]
    if len(names) != 1 or not names[0].endswith(_PACKED):
        return None
    detail = f"All it holds is another archive, {printable(names[0])}, which nobody extracts."
    return Finding("archive-in-archive", "warn", detail, "Pack what is in that one instead.")


_MISTAKES: tuple[Callable[[Sequence[Entry]], Finding | None], ...] = (
    _empty,
    _wrapping_folder,
    _code_without_entry_point,
    _symbolic_links,
    _hard_links,
    _unreadable,
    _version_control,
    _archive_in_archive,
)
