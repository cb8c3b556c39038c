"""What a Markdown document tells its readers to run, and a shell in which a test runs it as they would.

HTML comments, which readers do not see, say what a test cannot know. Before a block:

    <!-- test: skip, WHY -->          the block is not run
    <!-- test: file NAME -->          the block is a file of that name, which is there before anything runs
    <!-- test: without START, WHY --> its lines that begin so are left out
    <!-- test: prints -->            what stands behind a command, as in ``ls    # name``, is what it prints

at the head of the document:

    <!-- test: docker -->             it needs a Docker Engine

and anywhere, more to run that readers need not see: the comment's lines after ``<!-- test: sh`` (or ``python``).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import free_port
from tests.support.repository import REPOSITORY

# Variables of whoever runs the tests, which are none of the reader's.
DROPPED = ("AWS_", "LOCALMME_", "PYTEST_")


# A comment of ours, or a fenced block; fences of a list's items are indented.
PART = re.compile(
    r"^<!-- test: (?P<directive>.*?) ?-->$|^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
# Where an emulator listens, as documents say it. In a container 8080 is 8080.
ADDRESS = re.compile(r"(127\.0\.0\.1:|localhost:|--port |-p )8080\b")

DOCKER = "docker"
# What documents build; the tests have these images already.
BUILD = re.compile(r"^docker build -t (\S+) samples/containers/(\w+)$", re.MULTILINE)

# A command after its prompt, and what it prints.
CONSOLE = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n?)*)", re.MULTILINE)

# Where serve is typed, the reader has another terminal from then on. The next one takes its place at the same port.
SHELL = r"""
set -eo pipefail
docker() { [ "$1" = build ]; }    # see BUILD
localmme() {
    case " $* " in
    *" --help "* | *" --detach "*) command localmme "$@" ;;
    " serve "*)
        end_serving
        shift
        : > "$SCRATCH/serve.out" # now, not when the command has been started: what the last one said is in it
        command localmme serve --port "$PORT" "$@" > "$SCRATCH/serve.out" 2> "$SCRATCH/serve.err" &
        echo $! > "$SCRATCH/serve.pid"
        until grep -q ' at http' "$SCRATCH/serve.out"; do
            kill -0 $! || { cat "$SCRATCH/serve.err" >&2; return 1; }
            sleep 0.05
        done ;;
    *) command localmme "$@" ;;
    esac
}
end_serving() {
    if [ -e "$SCRATCH/serve.pid" ]; then
        local process=$(cat "$SCRATCH/serve.pid")
        rm "$SCRATCH/serve.pid"
        kill "$process" 2> "$SCRATCH/kill.err" || return 0
        # Where process 1 reaps nobody, it stays as a zombie.
        while kill -0 "$process" 2> "$SCRATCH/kill.err" && ! grep -qs '^State:.Z' "/proc/$process/status"; do
            sleep 0.05
        done
    fi
}
"""

# Runs the blocks of a document one after the other, with what the earlier ones have defined.
PYTHON = """
import json, os, sys, traceback
from tests.support.repository import REPOSITORY
namespace, environment = {"__name__": "__main__"}, None
for request in sys.stdin:
    request = json.loads(request)
    if request["environment"] != environment:  # what the blocks themselves have set stays, unless a shell says more
        environment = request["environment"]
        os.environ.clear()
        os.environ.update(environment)
    try:
        if request["language"] == "ipython":
            from IPython.core.interactiveshell import InteractiveShell
            InteractiveShell.instance().run_cell(request["text"].lstrip()).raise_error()
        else:
            exec(compile(request["text"], request["name"], "exec"), namespace)
        error = ""
    except BaseException:
        error = traceback.format_exc()
    sys.stdout.flush()
    print(json.dumps(error), file=sys.__stderr__, flush=True)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block, or the lines of a comment that are run like one."""

    document: Path
    line: int
    language: str
    text: str
    directives: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.document.relative_to(REPOSITORY)}:{self.line}"

    def directive(self, name: str) -> str | None:
        """What the directive of that name says, of which a block has one at most."""
        for directive in self.directives:
            word, _, rest = directive.partition(" ")
            if word.rstrip(",") == name:
                return rest
        return None

    @property
    def reader_runs(self) -> str:
        """The text, without the lines that are left out."""
        start, _, why = (self.directive("without") or "").partition(", ")
        if not start:
            return self.text
        assert why, f"{self}: say why these lines are not run: <!-- test: without {start}, WHY -->"
        lines = self.text.splitlines(keepends=True)
        assert any(line.startswith(start) for line in lines), f"{self}: there is no line that begins with {start!r}"
        return "".join(line for line in lines if not line.startswith(start))


def documents() -> list[Path]:
    """The documents for users."""
    return [
        REPOSITORY / "README.md",
        REPOSITORY / "SECURITY.md",
        REPOSITORY / "CONTRIBUTING.md",
        REPOSITORY / "CHANGELOG.md",
        *sorted((REPOSITORY / "docs").glob("*.md")),
        *sorted((REPOSITORY / "samples").rglob("*.md")),
    ]


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document, and the hidden ones among them, in their order."""
    text = document.read_text("utf-8")
    found: list[Block] = []
    directives: list[str] = []
    for part in PART.finditer(text):
        line = text.count("\n", 0, part.start()) + 1
        if directive := part["directive"]:
            first, _, rest = directive.partition("\n")
            if first in ("sh", "python"):
                found.append(Block(document, line, first, rest))
            elif first == DOCKER:
                assert not found, f"{document}: <!-- test: {DOCKER} --> belongs to the head of the document"
            else:
                directives.append(directive)
        else:
            content = re.sub(rf"^{part['indent']}", "", part["text"], flags=re.MULTILINE)
            found.append(Block(document, line, part["language"], content, tuple(directives)))
            directives = []
    assert not directives, f"{document}: no block follows <!-- test: {directives[0]} -->"
    return found


def needs_docker(document: Path) -> bool:
    """Whether what it tells to run takes a Docker Engine."""
    return f"<!-- test: {DOCKER} -->" in document.read_text("utf-8")


def builds(document: Path) -> dict[str, str]:
    """The images that it tells to build: from their names to the sample's directory."""
    return dict(BUILD.findall(document.read_text("utf-8")))


class Reader:
    """Somebody who does what a document says, in a directory of its own, with a port and a home of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.scratch = directory / ".reader"
        self.scratch.mkdir()
        self.port = free_port()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
        self.environment = {
            **kept,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
            "HOME": str(directory),
            "XDG_STATE_HOME": str(self.scratch / "state"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
            "LOCALMME_URL": f"http://127.0.0.1:{self.port}",
            "PORT": str(self.port),
            "SCRATCH": str(self.scratch),
        }
        self._python: subprocess.Popen[str] | None = None
        self._detaches = False

    def run(self, block: Block) -> str:
        """What it prints. Fails with what went wrong, and where in the document that is."""
        text = ADDRESS.sub(rf"\g<1>{self.port}", block.reader_runs)
        if block.language in ("python", "ipython"):
            return self._run_python(text, block)
        if block.language == "console":
            return "".join(self._look_at(*command, block) for command in CONSOLE.findall(text))
        if block.directive("prints") is not None:
            return "".join(self._compare(*line.partition("    # ")[::2], block) for line in text.splitlines())
        return self.shell(text, str(block))

    def shell(self, text: str, name: str) -> str:
        """Run it in bash; what it exports is there from then on."""
        self._detaches |= "--detach" in text
        exported = self.scratch / "exported"
        script = (
            f"{SHELL}\n{text}\n{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))' >{exported}"
        )
        output = self.scratch / "output"
        # A file, not a pipe: what is started in the background would keep a pipe open.
        with output.open("wb") as stream:
            ended = subprocess.run(
                ["bash", "-c", script],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=120,
            )
        printed = output.read_text(errors="replace")
        assert ended.returncode == 0, f"{name} ended with exit code {ended.returncode}:\n{text}\n{printed}{self._log()}"
        self.environment = json.loads(exported.read_text())
        return printed

    def _look_at(self, command: str, shown: str, block: Block) -> str:
        """Run it, and see that it prints what the document shows; lines are broken there where they are long."""
        printed = self.shell(f"{command} || true", str(block))
        assert shown.split() == printed.split(), f"{block}: {command} prints\n{printed}{self._log()}"
        return printed

    def _compare(self, command: str, expected: str, block: Block) -> str:
        """Run it, and see that it prints what the document says, if that says anything."""
        printed = self.shell(command, str(block))
        assert not expected or printed.strip() == expected, f"{block}: {command} prints\n{printed}{self._log()}"
        return printed

    def _run_python(self, text: str, block: Block) -> str:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", PYTHON],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=(self.scratch / "python.out").open("wb"),
                stderr=subprocess.PIPE,
                text=True,
            )
        output = self.scratch / "python.out"
        before = output.stat().st_size
        assert self._python.stdin is not None and self._python.stderr is not None
        request = {
            "language": block.language,
            "text": "\n" * block.line + text,
            "name": str(block.document),
            "environment": self.environment,
        }
        self._python.stdin.write(json.dumps(request) + "\n")
        self._python.stdin.flush()
        lines = []
        for line in self._python.stderr:  # warnings, then the one that is JSON
            if line.startswith('"'):
                break
            lines.append(line)
        else:
            raise AssertionError(f"{block} ended Python:\n{''.join(lines)}")
        error = json.loads(line)
        assert not error, f"{block}:\n{text}\n{error}{self._log()}"
        return output.read_bytes()[before:].decode(errors="replace")

    def _log(self) -> str:
        log = self.scratch / "serve.err"
        return f"\nThe emulator's log:\n{log.read_text(errors='replace')}" if log.exists() else ""

    def stop(self) -> None:
        """End what still runs."""
        if self._python is not None:
            assert self._python.stdin is not None
            self._python.stdin.close()
            self._python.wait(60)
        detached = "localmme stop --all" if self._detaches else ""
        self.shell(f"end_serving\n{detached}", "the end")
