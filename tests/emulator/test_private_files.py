"""What an emulator keeps is its user's alone, whatever the umask, and whoever made a directory before."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.containers.unix_socket import connect, new_socket_path
from emulator.errors import SetupError
from emulator.model_server.run import _bind
from emulator.private_files import make_private, private_directory, private_file, private_opener
from localmme import state_directories
from tests.support.emulator_process import Emulator
from tests.support.files import files_below
from tests.support.other_user import NOBODY, as_nobody
from tests.support.scripted_models import scripted_model

IS_ROOT = os.geteuid() == 0  # as in CI: only then can a test act as another user


@pytest.fixture(params=[0, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directories_and_files_are_private_under_any_umask(umask: None, tmp_path: Path) -> None:
    deep = tmp_path / "not-there" / "state"
    private_directory(deep)
    private_directory(deep)
    make_private(deep / "inside")
    private_file(deep / "registry.db")
    assert [mode(each) for each in (deep.parent, deep, deep / "inside")] == [0o700] * 3
    assert mode(deep / "registry.db") == 0o600


def test_what_an_older_version_left_open_is_closed(tmp_path: Path) -> None:
    state, log = tmp_path / "state", tmp_path / "state" / "serve.log"
    state.mkdir()
    log.write_text("before\n")
    for path, wide in ((state, 0o777), (log, 0o666)):
        path.chmod(wide)
    private_directory(state)
    with open(log, "a", opener=private_opener) as file:
        file.write("after\n")
    assert (mode(state), mode(log), log.read_text()) == (0o700, 0o600, "before\nafter\n")


def test_a_directory_that_users_share_is_none(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    with pytest.raises(SetupError, match="a directory that users share"):
        private_directory(tmp_path / "shared")
    assert mode(tmp_path / "shared") == 0o1777


def test_what_belongs_to_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, link = tmp_path / "mine", tmp_path / "link"
    mine.mkdir(mode=0o755)
    link.symlink_to(mine)
    private_directory(link)  # a link of one's own is fine
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    with pytest.raises(SetupError, match="belongs to another user"):
        private_directory(mine)
    mine.chmod(0o755)
    make_private(mine)  # left as it is
    assert mode(mine) == 0o755


def test_a_link_in_the_place_of_the_temporary_directory_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "key").write_text("precious")
    taken = tmp_path / f"localmme-{os.geteuid()}"
    taken.symlink_to(home)
    state, owner = state_directories.make_temporary()
    directory = state.path
    assert directory.parent == tmp_path and directory.name not in (taken.name, "home")
    assert (home / ".ssh" / "key").read_text() == "precious"
    assert (mode(directory), mode(Path(owner.name))) == (0o700, 0o600)
    owner.close()
    taken.unlink()
    state, owner = state_directories.make_temporary()
    assert (state.path.parent, mode(taken)) == (taken, 0o700)
    owner.close()


def readable(paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        with contextlib.suppress(PermissionError):
            path.open("rb").close()
            found.append(str(path))
    return found


@pytest.fixture
def seen_by_all() -> Iterator[Path]:
    """A directory that other users can look into, as pytest's are not."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


# Where a container is called


def test_a_socket_may_have_a_long_path(tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 30)
    directory.mkdir()
    path = new_socket_path(directory)
    assert path is not None and not path.exists()
    listener = _bind(str(path))
    listener.listen()
    client = connect(path)
    server, _ = listener.accept()
    server.sendall(b"there")
    client.setblocking(True)
    assert client.recv(10) == b"there"
    assert mode(path) == 0o600
    for each in (client, server, listener):
        each.close()
    (tmp_path / "file").touch()
    assert new_socket_path(tmp_path / "file") is None


def test_another_user_reads_nothing_of_an_emulator_and_cannot_call_its_server_of_handlers(seen_by_all: Path) -> None:
    bucket, state = seen_by_all / "s3" / "models", seen_by_all / "state"
    handler = seen_by_all / "handler.py"
    handler.write_text("def handle(data, context):\n    return data and [data[0]['body']]\n")
    scripted_model(bucket / "a.tar.gz")
    arguments = ["--models", str(bucket), "--handler", str(handler), "--s3", str(seen_by_all / "s3")]
    before = os.umask(0)
    try:
        emulator = Emulator(*arguments, state=state)
        emulator.wait_in_service()
    finally:
        os.umask(before)
    assert emulator.invoke("a.tar.gz", b"mine") == b"mine"

    kept = files_below(state)
    assert {"registry.db", "emulator.json", "lock"} <= {path.name for path in kept}
    assert any(path.suffix == ".log" for path in kept)
    private = [path for path in kept if path.parent == state or path.suffix == ".log"]
    assert {path.name: oct(mode(path)) for path in private if mode(path) != 0o600} == {}
    assert mode(state) == 0o700
    if IS_ROOT:
        assert as_nobody(readable, [*kept, *(seen_by_all / "s3" / ".localmme").glob("*")]) == []
        assert as_nobody(readable, [bucket / "a.tar.gz"]) == [str(bucket / "a.tar.gz")]  # which it could, were it open

    [path] = (state / "instances").rglob("socket-*")
    processes = emulator.worker().children(recursive=True)
    assert [found for each in processes for found in each.net_connections("tcp")] == []
    connect(path).close()
    if IS_ROOT:
        assert as_nobody(reachable, path) is False
        state.chmod(0o755)  # nor if the directory were open
        assert as_nobody(reachable, path) is False
    emulator.stop()
    assert not path.exists()


def reachable(path: Path) -> bool:
    try:
        connect(path).close()
    except PermissionError:
        return False
    return True
