"""The ``docker`` in front of the real one: what it answers itself, and how all the rest comes to the real one."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from emulator.state_directory import EmulatorRecord, StateDirectory
from localmme.engine_cli import launchers, program, transfer
from localmme.engine_cli.words import BuildCommand, RegistryCommand, read, read_build
from tests.support.aws_clients import ACCOUNT

HOST = f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com"
IMAGE = f"{HOST}/team/server"
DIGEST = "sha256:" + "1" * 64
# Its words, its process and its input as JSON, and an exit code of its own.
REAL = f"""#!{sys.executable} -S
import json, os, sys
if sys.argv[-2:] == ["buildx", "version"]:
    sys.exit(os.environ.get("NO_BUILDX"))
print(json.dumps([sys.argv[1:], os.getpid(), sys.stdin.read(), os.environ.get("IFS")]))
sys.exit(42)
"""


# Which command lines are about a registry


@pytest.mark.parametrize(
    "engine, words, verb, argument, options",
    [
        ([], ["login", "-u", "AWS", "-p", "x", HOST], "login", HOST, {"--username": "AWS", "--password": "x"}),
        ([], ["login", HOST, "--password-stdin", "--username=AWS"], "login", HOST,
         {"--password-stdin": "", "--username": "AWS"}),
        ([], ["push", IMAGE], "push", IMAGE, {}),
        ([], ["image", "push", "-q", IMAGE], "push", IMAGE, {"--quiet": ""}),
        (["--context", "push", "-D"], ["pull", "--platform", "linux/amd64", IMAGE], "pull", IMAGE,
         {"--platform": "linux/amd64"}),
        ([], ["push", "--quiet=true", IMAGE], "push", IMAGE, {"--quiet": ""}),
        ([], ["push", "-aq=F", "--quiet", "--quiet=false", IMAGE], "push", IMAGE, {"--all-tags": ""}),
        ([], ["pull", "--disable-content-trust=0", "--", IMAGE], "pull", IMAGE, {}),
        (["--debug=true", "-l=info"], ["login", "-u=AWS", "--password-stdin=true", HOST], "login", HOST,
         {"--username": "AWS", "--password-stdin": ""}),
        ([], ["login", "-u=AWS", "-pfalse", f"http://{HOST}"], "login", f"http://{HOST}",
         {"--username": "AWS", "--password": "false"}),
        ([], ["login", "-u", "", "--password", "", HOST], "login", HOST, {"--username": "", "--password": ""}),
    ],
)  # fmt: skip
def test_a_login_a_push_and_a_pull_are_known(
    engine: list[str], words: list[str], verb: str, argument: str, options: dict[str, str]
) -> None:
    assert read([*engine, *words]) == RegistryCommand(verb, argument, options, tuple(engine))


@pytest.mark.parametrize(
    "words",
    [
        [], ["ps"], ["push"], ["push", IMAGE, IMAGE], ["push", "--sign", IMAGE], ["--new-option", "push", IMAGE],
        ["login", "-u", "AWS", "-p", "x", "-e", "none", HOST], ["image"], ["compose", "push", IMAGE],
        ["push", "--quiet=maybe", IMAGE], ["push", "-qx", IMAGE], ["push", "-:", IMAGE], ["login", HOST, "-u"],
        ["push", "--quie", IMAGE], ["tag", "push", IMAGE],
        ["build", "--push", "-t", IMAGE, "."], ["run", IMAGE, "pull", IMAGE],
    ],
)  # fmt: skip
def test_everything_else_is_left_to_the_real_one(words: list[str]) -> None:
    assert read(words) is None


@pytest.mark.parametrize(
    "words, built, quiet",
    [
        (["build", "--push", "-t", IMAGE, "."], ["build", "--load", "-t", IMAGE, "."], False),
        (["-D", "image", "build", ".", f"-t{IMAGE}", "--push=true", "-q"],
         ["-D", "image", "build", "--load", "-t", IMAGE, "-q", "."], True),
        (["buildx", "--builder", "b", "build", f"--tag={IMAGE}", "-o", "type=registry", "--build-arg=A=b", "-f", "",
          "."],
         ["buildx", "--builder", "b", "build", "--load", "--tag", IMAGE, "--build-arg", "A=b", "-f", "", "."], False),
        (["build", "--output=type=image,push=true", "-o", "out", "-t", IMAGE, "--quiet", "--", "-"],
         ["build", "--load", "-o", "out", "-t", IMAGE, "--quiet", "-"], True),
        (["build", f"-t={IMAGE}", "--push", "."], ["build", "--load", "-t", IMAGE, "."], False),
        (["build", "--push", "--pull=false", "--rm=0", "--load=false", f"-qt{IMAGE}", "--quiet=f", "."],
         ["build", "--load", "--pull=false", "--rm=false", "-q", "-t", IMAGE, "--quiet=false", "."], False),
        (["build", "-q=false", "--label", "--push=false", "--push", "-t", IMAGE, "."],
         ["build", "--load", "-q=false", "--label", "--push=false", "-t", IMAGE, "."], False),
        (["build", "-o", f"type=image,name={IMAGE},push=true", "."], ["build", "--load", "--tag", IMAGE, "."], False),
        (["build", "-o", f'type=registry,"name={IMAGE}"', "."], ["build", "--load", "--tag", IMAGE, "."], False),
        (["build", "--output", "type=registry,oci-mediatypes=false", "-t", IMAGE, "."],
         ["build", "--load", "-t", IMAGE, "."], False),
        (["build", "-o=push=true,Type=image,name=other", "--push=false", "-t", IMAGE, "."],
         ["build", "--load", "-t", IMAGE, "."], False),
        (["buildx", "b", "--push", "-t", IMAGE, "."], ["buildx", "b", "--load", "-t", IMAGE, "."], False),
    ],
)  # fmt: skip
def test_a_build_that_pushes_is_known_as_one_that_does_not(words: list[str], built: list[str], quiet: bool) -> None:
    engine = ("-D",) if words[0] == "-D" else ()
    assert read_build(words) == BuildCommand(tuple(built), (IMAGE,), engine, quiet)


@pytest.mark.parametrize(
    "words",
    [
        ["build", "-t", IMAGE, "."], ["build", "-o", "type=docker", "."], ["build", "--new", "--push", "."],
        ["buildx", "bake", "--push"], ["run", IMAGE, "build", "--push"], ["push", IMAGE], ["buildx"], [],
        ["build", "--push=false", "-t", IMAGE, "."], ["build", "--push", "--push=0", "-t", IMAGE, "."],
        ["build", "-o", "type=image,push=false", "-t", IMAGE, "."], ["build", "-o", "", "-t", IMAGE, "."],
        ["build", "-o", "type=registry\n,a", "-t", IMAGE, "."],
        ["build", "--label", "--push", "-t", IMAGE, "."], ["b", "--push", "-t", IMAGE, "."],
    ],
)  # fmt: skip
def test_other_builds_are_the_real_ones(words: list[str]) -> None:
    assert read_build(words) is None


# The launchers


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    directory = StateDirectory(tmp_path / "state")
    directory.path.mkdir()
    return directory


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A directory with a ``docker`` that does what ``REAL`` says."""
    directory = tmp_path / "real programs"
    directory.mkdir()
    (directory / "docker").write_text(REAL)
    (directory / "docker").chmod(0o755)
    return directory


def commands(state: StateDirectory) -> Path:
    written = launchers.write(state)
    assert written is not None
    return written


def run(path: Sequence[Path], *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": os.pathsep.join(map(str, path))}
    return subprocess.run(["docker", *words], env=environment, input=stdin, capture_output=True, text=True)


@pytest.fixture
def living(state: StateDirectory) -> Iterator[StateDirectory]:
    """A state directory whose emulator seems to run."""
    state.take()
    with state.occupied("http://127.0.0.1:9", "us-east-1", 1.0, discard_failed=False):
        yield state


def test_the_launchers_are_the_users_alone_and_go_with_the_state(state: StateDirectory) -> None:
    directory = commands(state)
    assert commands(state) == directory
    assert sorted(each.name for each in directory.iterdir()) == ["docker", "finch", "podman"]
    assert {stat.S_IMODE(each.stat().st_mode) for each in [directory, *directory.iterdir()]} == {0o700}
    state.remove()
    assert launchers.write(state) is None and not state.path.exists()


def test_what_is_not_for_ecr_is_the_real_ones(state: StateDirectory, real: Path, tmp_path: Path) -> None:
    other = StateDirectory(tmp_path / "other")
    other.path.mkdir()
    both = [commands(state), commands(other)]
    words = ["run", "--name=a b", "*", "", "login", "docker.io", "build", HOST]
    # Two emulators' launchers do not call each other; nor does one that is on the path twice call itself.
    environment = {**os.environ, "PATH": os.pathsep.join(map(str, [*both, *both, real]))}
    process = subprocess.Popen(
        ["docker", *words], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    said, _ = process.communicate("input")
    # It is the same process, so signals and the terminal are its own.
    assert json.loads(said) == [words, process.pid, "input", None]
    assert process.returncode == 42


def test_without_a_real_one_the_shells_words_come(state: StateDirectory) -> None:
    answered = run([commands(state)], "ps")
    assert (answered.returncode, answered.stdout) == (127, "")
    assert answered.stderr.splitlines()[0] == "docker: command not found"
    assert "install docker" in answered.stderr


def test_when_the_emulator_has_gone_all_is_the_real_ones(state: StateDirectory, real: Path) -> None:
    answered = run([commands(state), real], "login", "-u", "AWS", "--password-stdin", HOST, stdin="token")
    assert (answered.returncode, json.loads(answered.stdout)[2]) == (42, "token")
    answered = run([commands(state)], "push", IMAGE)
    assert (answered.returncode, answered.stderr.splitlines()[0]) == (127, "docker: command not found")


def test_a_login_to_the_emulators_ecr_is_answered(living: StateDirectory, real: Path) -> None:
    answered = run([commands(living)], "login", "-u", "AWS", "--password-stdin", HOST, stdin="token\n")
    assert (answered.returncode, answered.stdout, answered.stderr) == (0, "Login Succeeded\n", "")


def test_the_launcher_sees_a_build_that_pushes(living: StateDirectory, real: Path) -> None:
    for words in (["--push", "-t", IMAGE], ["-t", IMAGE, "--push"], ["--output", "type=registry", "-t", IMAGE]):
        answered = run([commands(living), real], "build", *words, ".")
        assert json.loads(answered.stdout)[0] == ["build", "--load", "-t", IMAGE, "."] and answered.returncode == 42


def test_without_buildx_a_build_that_pushes_is_the_real_ones(
    living: StateDirectory, real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_BUILDX", "unknown command")
    answered = run([commands(living), real], "build", "--push", "-t", IMAGE, ".")
    assert json.loads(answered.stdout)[0] == ["build", "--push", "-t", IMAGE, "."]


@pytest.mark.parametrize(
    "host",
    [
        "763104351884.dkr.ecr.us-west-2.amazonaws.com", f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com",
        f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com.cn", f"{ACCOUNT}.dkr.ecr.us-west-2.example.org", "docker.io",
        f"{ACCOUNT}.dkr-ecr.us-west-2.amazonaws.com", f"{ACCOUNT}.dkr-ecr.cn-north-1.on.aws",
    ],
)  # fmt: skip
def test_other_registries_are_the_real_ones(living: StateDirectory, host: str) -> None:
    for command in (["login", "-u", "AWS", "-p", "x", host], ["push", f"{host}/a"], ["pull", f"{host}/a"]):
        found = read(command)
        assert found is not None and program._answer(found, living, "docker", "/real/docker") is None


@pytest.mark.parametrize(
    "server",
    [
        f"https://{HOST}", f"http://{HOST}", f"{HOST}/v2/", f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn",
        f"{ACCOUNT}.dkr.ecr-fips.us-gov-west-1.amazonaws.com", f"{ACCOUNT}.dkr-ecr.eu-west-1.on.aws",
    ],
)  # fmt: skip
def test_a_login_names_the_host_as_people_write_it(
    living: StateDirectory, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read(["login", "-u", "AWS", "-p", "token", server])
    assert found is not None and program._answer(found, living, "docker", "") == 0
    shown = capsys.readouterr()
    assert shown.out == "Login Succeeded\n" and "insecure" in shown.err
    found = read(["login", "-u", "somebody", "-p", "token", server])
    assert found is not None and program._answer(found, living, "docker", "") == 1
    assert "400 Bad Request" in capsys.readouterr().err


# Pushes and pulls


class Engine(transfer.LocalEngine):
    def __init__(self, *names: str) -> None:
        super().__init__("docker", ["docker"])
        object.__setattr__(self, "_names", list(names))

    def names(self) -> list[str]:
        found: list[str] = object.__getattribute__(self, "_names")
        return found

    def has(self, reference: str) -> bool:
        return reference in self.names()

    def tag(self, image: str, name: str) -> bool:
        self.names().append(name)
        return True


@pytest.fixture
def ecr(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Repositories of ECR by region and name, with their images' names."""
    repositories: dict[str, set[str]] = {"us-west-2/team/server": {"latest", "v1"}}

    def described(region: str, local: str, emulator: EmulatorRecord) -> dict[str, Any]:
        name, _, tag = local.partition(":")
        if (found := repositories.get(f"{region}/{name}")) is None:
            raise transfer.Refused(transfer.NO_REPOSITORY, "name unknown")
        if tag not in found:
            raise transfer.Refused(transfer.NO_IMAGE, "none")
        return {"imageDigest": DIGEST, "imageSizeInBytes": 7}

    monkeypatch.setattr(transfer, "_described", described)
    return repositories


EMULATOR = EmulatorRecord("name", "http://127.0.0.1:9", 1, "", "us-east-1", 1.0, "")
REFERS, LINE = f"The push refers to repository [{IMAGE}]\n", f": digest: {DIGEST} size: 7\n"


def pushed(engine: Engine, *words: str) -> int | None:
    command = read(["push", *words])
    assert command is not None
    return transfer.push(command, engine, EMULATOR)


@pytest.mark.usefixtures("ecr")
def test_a_push_is_shown_as_ecr_lists_the_image(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine(f"{IMAGE}:latest", f"{IMAGE}:v1", f"{HOST}/other:v1")
    for words, shown in (
        ([IMAGE], f"Using default tag: latest\n{REFERS}latest{LINE}"),
        ([f"{IMAGE}:v1"], f"{REFERS}v1{LINE}"),
        (["-q", IMAGE], f"{IMAGE}\n"),
        (["--all-tags", IMAGE], f"{REFERS}latest{LINE}v1{LINE}"),
    ):
        assert pushed(engine, *words) == 0
        assert capsys.readouterr() == (shown, "")


def test_a_push_that_fails_has_dockers_words(ecr: dict[str, set[str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert pushed(Engine(), IMAGE) is None  # the real one has its own
    assert pushed(Engine(f"{HOST}/none:v1"), f"{HOST}/none:v1") == 1
    assert capsys.readouterr() == (f"The push refers to repository [{HOST}/none]\n", "name unknown\n")
    assert pushed(Engine(f"{IMAGE}:v2"), f"{IMAGE}:v2") == 1
    assert "that of the emulator has not" in capsys.readouterr().err
    # All regions are one: its repository may be in the emulator's.
    ecr["us-east-1/none"] = {"v1"}
    assert pushed(Engine(f"{HOST}/none:v1"), f"{HOST}/none:v1") == 0


@pytest.mark.usefixtures("ecr")
def test_a_build_that_pushes_builds_and_is_listed(
    living: StateDirectory, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # those of the test's own process
    real = tmp_path / "docker"
    real.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/words\ncase $* in *fail*|*left*) exit 3; esac\n')
    real.chmod(0o755)

    def build(*words: str) -> tuple[int | None, str]:
        command = read_build(["build", "--push", *words, "."])
        assert command is not None
        code = program._build(command, living, "docker", str(real))
        shown = capfd.readouterr()
        assert shown.out == ""
        return code, shown.err

    assert build("-t", IMAGE, "-t", "ghcr.io/a") == (0, f"Using default tag: latest\n{REFERS}latest{LINE}")
    assert (tmp_path / "words").read_text().splitlines() == [
        "buildx version", f"build --load -t {IMAGE} -t ghcr.io/a .", f"image inspect {IMAGE}:latest", "push ghcr.io/a"
    ]  # fmt: skip
    assert build("-q", "-t", f"{IMAGE}:v1") == (0, "")
    code, shown = build("-t", f"{HOST}/none")
    assert code == 1 and shown.endswith("name unknown\n")
    assert build("-t", f"{IMAGE}:fail") == (3, "")
    assert build("-t", "ghcr.io/a") == (None, "")
    (tmp_path / "docker").write_text("#!/bin/sh\ncase $1 in build*) ;; *) exit 1; esac\n")
    assert build("-t", IMAGE) == (1, f"The build has left no image {IMAGE} on the engine of this `docker`.\n")


@pytest.mark.usefixtures("ecr")
def test_a_pull_finds_what_the_engine_has(capsys: pytest.CaptureFixture[str]) -> None:
    def pulled(engine: Engine, *words: str) -> int | None:
        command = read(["pull", *words])
        assert command is not None
        return transfer.pull(command, engine, EMULATOR)

    assert pulled(Engine(f"{IMAGE}:v1"), f"{IMAGE}:v1") == 0
    assert f"v1: Pulling from team/server\nStatus: Image is up to date for {IMAGE}:v1\n" in capsys.readouterr().out
    for other in ("team/server:latest", f"{IMAGE.replace('us-west-2', 'us-east-1')}:latest"):
        engine = Engine(other)
        assert pulled(engine, "-q", IMAGE) == 0
        assert engine.has(f"{IMAGE}:latest") and capsys.readouterr().out == f"{IMAGE}:latest\n"
    assert pulled(Engine(), f"{IMAGE}:v3") == 1
    assert f"manifest for {IMAGE}:v3 not found: manifest unknown" in capsys.readouterr().err
    assert pulled(Engine(), f"{HOST}/none:v1") == 1
    assert f"repository {HOST}/none not found: name unknown" in capsys.readouterr().err
