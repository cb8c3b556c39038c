"""``localmme call``: a model that is loaded and invoked once, in the command's own process."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.errors import SetupError
from localmme import foreground_call
from localmme.foreground_call import Call, run

HANDLER = """
import ctypes, os

def model_fn(model_dir):
    print("loads from", os.path.basename(os.getcwd()))
    return open("weights").read()

def predict_fn(data, model):
    ctypes.CDLL(None).puts(b"written by C")
    ctypes.CDLL(None).fflush(None)
    return check(data, model)

def check(data, model):
    sum(range(300_000))  # so that a profile shows it
    if "bad" in data:
        raise ValueError("a bad request")
    if "exit" in data:
        raise SystemExit(3)
    if "stream" in data:
        return (piece for piece in (b"a", b"b") if piece == b"a" or fail())
    return {"weights": model, "data": data.tolist() if hasattr(data, "tolist") else data}

def fail():
    raise ValueError("in the middle")

def input_fn(body, content_type):
    return f"{bytes(body).decode() if not isinstance(body, str) else body} as {content_type}"
"""


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The working directory, the import path and the modules are a test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "porto"
    directory.mkdir()
    (directory / "weights").write_text("42")
    (tmp_path / "handler.py").write_text(HANDLER)
    return directory


def call(model: Path | str, data: str = "x", *, handler: str | None = "handler.py", **options: bool) -> int:
    request = Call(str(model), handler, data.encode(), "text/plain", accept=None)
    # The real standard output: pytest's own would not go where the C library's goes.
    with open(1, "w", closefd=False) as stdout, contextlib.redirect_stdout(stdout):
        return run(request, output=None, **{"debugger": False, "profile": False, **options})


def test_the_answer_is_all_of_standard_output(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(model) == 0
    out, err = capfd.readouterr()
    assert out == '{"weights": "42", "data": "x as text/plain"}'
    assert "loads from porto\n" in err and "written by C\n" in err
    assert re.search(r"200 OK, application/json, 44 B: loaded in \d+\.\d{3} s", err)
    assert "peak memory of this process" in err


def test_an_archive_is_extracted_and_what_was_extracted_is_deleted(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with tarfile.open(tmp_path / "porto.tar.gz", "w:gz") as archive:
        archive.add(model / "weights", "weights")
        archive.add(tmp_path / "handler.py", "code/inference.py")
    assert call("porto.tar.gz", handler=None) == 0
    assert capfd.readouterr().out == '{"weights": "42", "data": "x as text/plain"}'
    os.chdir(tmp_path)
    assert not list((tmp_path / "state").rglob("weights"))


def test_a_handler_that_raises_is_shown_from_its_first_frame(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(model, "bad") == 1
    out, err = capfd.readouterr()
    assert out.startswith("a bad request\nTraceback")  # which is what the toolkit answers
    traceback = err[err.index("Traceback") :].splitlines()
    assert traceback[1].endswith('handler.py", line 11, in predict_fn') and "in check" in "".join(traceback)
    assert "500 Internal Server Error" in err


def test_a_model_that_does_not_load_is_shown(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (model / "weights").unlink()
    assert call(model) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err[err.index("Traceback") :].splitlines()[1].endswith('handler.py", line 6, in model_fn')
    what = "FileNotFoundError: [Errno 2] No such file or directory: 'weights'"
    assert err.endswith(f"Error: {what} (handler.py, line 6, in model_fn)\n")


def test_a_handler_that_cannot_be_called_is_one_line(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "handler.py").write_text("x = 1")
    assert call(model) == 1
    err = capfd.readouterr().err
    assert err.startswith("Error: ") and "has no function handle(data, context)" in err and err.count("\n") == 1


def test_a_handler_that_ends_its_process_is_reported(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(model, "exit") == 1
    assert "The handler ended its process: exit code 3" in capfd.readouterr().err


def test_a_stream_that_breaks_off_is_a_failure(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(model, "stream") == 1
    out, err = capfd.readouterr()
    assert out == "a" and "The streamed answer broke off:" in err and "in fail" in err


def test_the_debugger_opens_where_the_handler_raised(
    model: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("p 'the data is', data\nquit\n"))
    assert call(model, "bad", debugger=True) == 1
    out, err = capfd.readouterr()
    assert "('the data is', 'bad as text/plain')" in err and "(Pdb)" not in out


def test_the_profile_names_the_handlers_functions(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call(model, profile=True) == 0
    out, err = capfd.readouterr()
    assert "(predict_fn)" in err and "cumulative" in err and "cumulative" not in out


@pytest.mark.parametrize(
    ("model", "handler", "message"),
    [
        ("none", "handler.py", "There is no model none."),
        ("porto", "none.py:handle", "There is no handler file none.py."),
        ("handler.py", "handler.py", "The model handler.py cannot be extracted: "),
    ],
)
@pytest.mark.usefixtures("model")
def test_what_is_not_there_is_named(model: str, handler: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "porto").mkdir()
    (tmp_path / "handler.py").touch()
    with pytest.raises(SetupError, match=message):
        call(model, handler=handler)


def test_all_memory_is_measured() -> None:
    assert foreground_call._peak_bytes() > 10_000_000
