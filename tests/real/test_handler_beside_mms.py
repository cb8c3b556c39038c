"""localmme's own server beside the real one: the toolkit's functions in both, and the differences of handlers.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.real_servers import mms, provision
from tests.support.real_servers.container import Container, started
from tests.support.real_servers.making import NotProvisioned

pytestmark = pytest.mark.real

TOOLKIT = "sagemaker_inference.default_handler_service"
LOADED = "def model_fn(model_dir): return model_dir\n"
PREDICTS = LOADED + "def predict_fn(data, model): return data\n"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Container, Container]]:
    """Ours, and Multi Model Server with the toolkit."""
    directory = tmp_path_factory.mktemp("servers")
    try:
        command = provision.with_java(provision.mms(), mms.ENTRYPOINT, TOOLKIT)
    except NotProvisioned as reason:
        pytest.skip(str(reason))
    ours = [sys.executable, "-m", "emulator.model_server"]
    with started(ours, directory / "ours.log") as one, started(command, directory / "theirs.log") as other:
        one.wait_until_healthy()
        other.wait_until_healthy()
        yield one, other


def outcome(server: Container, directory: Path, body: bytes, content_type: str) -> tuple[int, bytes]:
    """The status and the beginning of what the caller gets: of the load, if that fails, else of the invocation."""
    name = directory.name
    answer = server.load(name, directory)
    if answer.status == 200:
        answer = server.invoke(name, body, content_type)
        server.unload(name)
    said = answer.body
    if answer.headers["Content-Type"] == "application/json" and answer.status >= 400 and said.startswith(b"{"):
        said = json.loads(said)["message"].encode()
    return answer.status, said.partition(b"\n")[0]


@pytest.mark.parametrize(
    "inference, body, content_type, answer",
    [
        (PREDICTS, b"[1, 2]", "application/json", (200, b"[1, 2]")),
        (PREDICTS, b"1,2\n3,4", "text/csv", (200, b"[[1, 2], [3, 4]]")),
        (LOADED + "def predict_fn(data, model): raise MemoryError('no room')", b"[1]", "application/json",
         (500, b"no room")),
        (LOADED + "def transform_fn(model, body, content_type, accept): raise MemoryError('no room')", b"[1]",
         "application/json", (500, b"no room")),
        (LOADED + "def predict_fn(data, model): raise ValueError('bad row')", b"[1]", "application/json",
         (500, b"bad row")),
    ],
    ids=["json", "csv", "no memory to predict", "no memory to transform", "fails"],
)  # fmt: skip
def test_what_is_the_same(
    servers: tuple[Container, Container],
    tmp_path: Path,
    inference: str,
    body: bytes,
    content_type: str,
    answer: tuple[int, bytes],
) -> None:
    (tmp_path / "inference.py").write_text(inference)
    assert [outcome(server, tmp_path, body, content_type) for server in servers] == [answer, answer]


def test_what_differs(servers: tuple[Container, Container], tmp_path: Path) -> None:
    def both(name: str, file: str, inference: str) -> list[tuple[int, bytes]]:
        path = tmp_path / name / file
        path.parent.mkdir(parents=True)
        path.write_text(inference)
        return [outcome(server, tmp_path / name, b"[1]", "application/json") for server in servers]

    ours, theirs = both("fails", "inference.py", "def model_fn(model_dir): raise ValueError('no weights')")
    assert ours == (500, b"ValueError: no weights (inference.py, line 1, in model_fn)")  # at the load
    assert theirs == (500, b"no weights")  # at each call
    ours, theirs = both("large", "inference.py", "def model_fn(model_dir): raise MemoryError('no room')")
    assert ours[0] == theirs[0] == 500 and ours[1].startswith(b"MemoryError: no room.")
    generator = "def output_fn(prediction, accept): return iter(['a', 'b'])"
    ours, theirs = both("streams", "inference.py", f"{PREDICTS}{generator}")
    assert (ours, theirs) == ((200, b"ab"), (503, b"Unsupported model output data type."))
    ours, theirs = both("below", "code/inference.py", PREDICTS)
    assert ours == (200, b"[1]") and theirs[0] == 500
