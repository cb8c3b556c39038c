"""``%localmme`` in IPython, without an emulator: cells and functions as handlers, packing, and what is refused."""

from __future__ import annotations

import builtins
import os
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from traitlets.config import Config

import emulator
from emulator.model_server.handlers.toolkits.toolkit import import_file
from localmme.notebook import failures, magic

CELL = "def handle(data, context):\n    return ['said']\n"


class FakeEmulator:
    """Stands for an emulator that has been started with these arguments."""

    url = "http://127.0.0.1:1"

    def __init__(self, **arguments: Any) -> None:
        self.arguments, self.is_running = arguments, True

    def environment(self) -> dict[str, str]:
        return {}

    def logs(self) -> str:
        return ""

    def invoke(self, model: str, body: bytes, **request: str) -> bytes:
        self.sent = body
        return b""

    def stop(self) -> None:
        self.is_running = False

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("the emulator")


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[InteractiveShell]:
    """A notebook's shell with the extension, in a directory of its own; nothing is started."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3").mkdir()
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # as in workers: else a change within a second is not seen
    for hook in ("excepthook", "displayhook"):
        monkeypatch.setattr(sys, hook, getattr(sys, hook))
    monkeypatch.setattr(magic, "serve", FakeEmulator)
    had = set(vars(builtins))
    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}), colors="nocolor")
    magic.load_ipython_extension(shell)
    yield shell
    magic.unload_ipython_extension(shell)
    assert not list(tmp_path.glob("localmme-*/*"))
    for name in set(vars(builtins)) - had:
        delattr(builtins, name)
    for name in ("handler", "features", "means"):
        sys.modules.pop(name, None)


def run(shell: InteractiveShell, cell: str) -> ExecutionResult:
    result = shell.run_cell(cell)
    assert result.success, result.error_in_exec or result.error_before_exec
    return result


def refused(shell: InteractiveShell, cell: str) -> str:
    return str(shell.run_cell(cell).error_in_exec)


def served(shell: InteractiveShell) -> dict[str, Any]:
    """What the emulator was started with."""
    return shell.user_ns["localmme_emulator"].arguments


def test_a_cell_is_served_and_each_change_of_it_is(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    run(shell, f"%%localmme handler\n{CELL}")
    assert "Serve it: %localmme serve --models DIR" in capsys.readouterr().out
    run(shell, "%localmme serve --models s3")
    file = Path(served(shell)["handler"])
    assert served(shell)["reload"] is True and import_file(str(file)).handle([], None) == ["said"]
    assert file.read_text().splitlines()[1:] == CELL.splitlines()  # its lines are the cell's
    assert file.stat().st_uid == os.geteuid() and file.parents[1].stat().st_mode & 0o077 == 0
    run(shell, f"%%localmme handler\n{CELL.replace('said', 'anew')}")
    assert "The next call is answered by it." in capsys.readouterr().out and "anew" in file.read_text()
    run(shell, "%localmme serve --models s3")  # it outlives the emulator
    assert served(shell)["handler"] == str(file)
    run(shell, "%localmme handler --forget\n%localmme serve --models s3")
    assert "handler" not in served(shell) and "reload" not in served(shell)
    run(shell, f"%%localmme handler\n{CELL}")
    assert "The emulator that runs does not use it: run %localmme serve again." in capsys.readouterr().out


@pytest.mark.parametrize(
    "named", ["--handler other.py", "--command ./server", "--image name", "e.yaml", "--no-endpoint"]
)
def test_a_cell_is_not_served_where_something_else_is_named(shell: InteractiveShell, named: str) -> None:
    run(shell, f"%%localmme handler\n{CELL}")
    run(shell, f"%localmme serve {named}")
    assert served(shell).get("handler") in (None, "other.py") and "reload" not in served(shell)


def test_a_cell_is_written_to_a_file_of_the_users(shell: InteractiveShell, tmp_path: Path) -> None:
    (tmp_path / "real.py").touch(0o640)
    (tmp_path / "handler.py").symlink_to("real.py")
    run(shell, f"%%localmme handler handler.py\n{CELL}")
    assert (tmp_path / "handler.py").is_symlink() and (tmp_path / "real.py").read_text().endswith(CELL)
    run(shell, "%localmme serve --models s3 --handler handler.py:handle")
    assert served(shell)["reload"] is True
    assert "such as handler.py, not notes.txt" in refused(shell, f"%%localmme handler notes.txt\n{CELL}")
    assert "No such file" in refused(shell, f"%%localmme handler nowhere/handler.py\n{CELL}")


def test_a_cell_that_is_no_python_is_shown_with_its_lines_and_not_written(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shell, f"%%localmme handler handler.py\n{CELL}")
    refused(shell, "%%localmme handler handler.py\nimport json\n\ndef handle(data context):\n    pass\n")
    said = capsys.readouterr().out
    assert ":4\n    def handle(data context):\n" in said and "SyntaxError: " in said  # in a kernel: Cell In[1], line 4
    assert "localmme/notebook" not in said
    assert Path("handler.py").read_text().endswith(CELL)


@pytest.mark.parametrize(
    "line, says",
    [
        ("serve --models s3", "%%localmme serve does not use the cell below it. Run %localmme serve in a cell"),
        ("", "%%localmme does not use the cell below it."),
        ("pack model", "%%localmme pack does not use the cell below it."),
        ("invoke a.tar.gz --data x", "not both"),
        ("handler --forget", "Write the handler into the cell"),
        ("sreve", "No such command 'sreve'"),
    ],
)
def test_a_cell_that_a_command_does_not_use_is_refused(shell: InteractiveShell, line: str, says: str) -> None:
    assert says in refused(shell, f"%%localmme {line}\nthe cell\n")
    assert "localmme_emulator" not in shell.user_ns


def test_a_cell_with_nothing_in_it_is_none(shell: InteractiveShell) -> None:
    run(shell, "%%localmme serve --models s3\n\n")
    assert "Write the handler into the cell" in refused(shell, "%%localmme handler\n\n")


FUNCTIONS = """
import json as j
import os.path, xml
import xml.dom.minidom
import features
from fractions import Fraction as F
from functools import lru_cache

OFFSET, names, scaler = 0.5, {"x": [1]}, F(3, 2)
same = names

def checked(x):
    return x if x != "bad" else fails()

class Doubles:
    @classmethod
    def made(cls):
        return cls()

    def __call__(self, x):
        return features.double(checked(x))

class Named(str):
    pass

def fails():
    raise ValueError(why)

why = Named("as asked")

twice = Doubles.made()

def made(by):
    return lambda x: x * by

thrice = made(3)

@lru_cache
def name(x: j.JSONDecoder = None):
    data = "local"  # as a variable of the notebook
    return os.path.join("a", xml.dom.minidom.Document.__name__)

def input_fn(body, content_type):
    return j.loads(body)

def model_fn(directory):
    return names

def predict(data, model):
    return [twice(data), thrice(data), scaler * F(2) + OFFSET, name(), model is names is same, bounded(data)]

def bounded(data, by=names):
    return by["x"]

data = (_ for _ in ())  # cannot be pickled
"""
OUTCOME = [14, 21, 3.5, "a/Document", True, [1]]


def handler_of(shell: InteractiveShell) -> Any:
    """The handler that is served, as a worker imports it."""
    return import_file(served(shell)["handler"])


def test_a_function_is_served_with_all_that_it_uses(shell: InteractiveShell, tmp_path: Path) -> None:
    (tmp_path / "features.py").write_text("def double(x): return 2 * x\n")
    sys.path.insert(0, "")  # as in a notebook
    run(shell, FUNCTIONS)
    run(shell, "%localmme serve --models s3 --handler $predict")
    sys.path.remove("")
    handler = handler_of(shell)
    assert handler.predict_fn(handler.input_fn("7", "any"), handler.model_fn("any")) == OUTCOME
    assert served(shell)["reload"] is True
    source = Path(served(shell)["handler"]).read_text()
    assert "def predict(data, model):" in source and "import json as j" in source  # so that a traceback shows it
    assert "data = " not in source.replace('data = "local"', "")
    with pytest.raises(ValueError, match="as asked") as raised:
        handler.predict_fn("bad", None)
    frames = [(frame.name, frame.statement.lines[0].strip()) for frame in raised.traceback[1:]]
    assert frames[1:] == [
        ("__call__", "return features.double(checked(x))"),
        ("checked", 'return x if x != "bad" else fails()'),
        ("fails", "raise ValueError(why)"),
    ]


def test_what_the_notebook_changes_of_a_served_function_is_served(shell: InteractiveShell) -> None:
    run(shell, "limit, table = 1, [1]\ndef predict(data):\n    return [data, limit, table]\n")
    run(shell, "%localmme serve --models s3 --handler=$predict")
    handler, file = handler_of(shell), Path(served(shell)["handler"])
    assert handler.predict_fn(0, handler.model_fn("any")) == [0, 1, [1]]
    before = file.stat().st_mtime_ns
    run(shell, "other = 3")
    assert file.stat().st_mtime_ns == before
    run(shell, "table = [2]")
    assert handler_of(shell).predict_fn(0, None) == [0, 1, [2]]
    assert len(list(file.parent.iterdir())) == 2  # the values of before are gone
    run(shell, "def predict(data):\n    return [data, 'anew']\ndef model_fn(directory):\n    return directory\n")
    assert handler_of(shell).predict_fn(0, None) == [0, "anew"] and handler_of(shell).model_fn("d") == "d"
    assert len(list(file.parent.iterdir())) == 1


def test_a_function_that_can_no_longer_be_served_is_told_and_the_last_one_stays(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shell, "limit = 1\ndef predict(data):\n    return limit\n")
    run(shell, "%localmme serve --models s3 --handler $predict")
    run(shell, "limit = (_ for _ in ())")
    assert "The emulator serves the function as it was: predict uses limit" in capsys.readouterr().err
    run(shell, "other = 1")
    assert capsys.readouterr().err == ""  # it is said once
    assert handler_of(shell).predict_fn(0, None) == 1
    run(shell, "%localmme stop\nlimit = 2")
    assert handler_of(shell).predict_fn(0, None) == 1


def test_a_decorated_function_is_served_and_what_is_no_function_any_more_is_told(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shell, "def predict(data):\n    return data\n%localmme serve --models s3 --handler $predict")
    run(shell, "from functools import lru_cache\n@lru_cache\ndef predict(data):\n    return 'kept'\n")
    assert handler_of(shell).predict_fn(1, None) == "kept" and capsys.readouterr().err == ""
    for value in ("5", "Model().predict", "Model"):
        run(shell, f"class Model:\n    def predict(self, data): pass\npredict = {value}\n")
        assert "The emulator serves the function as it was: predict is no function now." in capsys.readouterr().err
        assert handler_of(shell).predict_fn(1, None) == "kept"
    run(shell, "del predict\n@lru_cache\ndef predict(data):\n    return 'again'\n")
    assert handler_of(shell).predict_fn(1, None) == "again"
    run(shell, "%localmme serve --models s3 --handler $predict")
    assert handler_of(shell).predict_fn(1, None) == "again"


@pytest.mark.parametrize(
    "made", ["@lru_cache\ndef model_fn(directory):\n    return [directory]", "model_fn = partial(load, by=1)"]
)
def test_a_model_fn_that_is_no_plain_function_belongs_to_the_handler(shell: InteractiveShell, made: str) -> None:
    run(shell, "from functools import lru_cache, partial\ndef load(directory, by): return [directory]\n")
    run(shell, f"{made}\ndef predict(data, model):\n    return model")
    run(shell, "%localmme serve --models s3 --handler $predict")
    assert handler_of(shell).model_fn("d") == ["d"]


def test_what_reads_the_values_takes_no_name_of_the_notebook(shell: InteractiveShell) -> None:
    run(shell, "import cloudpickle as pickle, json as pathlib\ntable = [1]\n")
    run(shell, "def predict(data):\n    return [pickle.__name__, pathlib.__name__, table]\n")
    run(shell, "%localmme serve --models s3 --handler $predict")
    assert handler_of(shell).predict_fn(1, None) == ["cloudpickle", "json", [1]]


def test_a_function_in_a_block_keeps_its_texts(shell: InteractiveShell) -> None:
    lines = ["if True:", "    @lru_cache", "    def text():", '        return """a', "          b", '    c"""']
    run(shell, "\n".join(["from functools import lru_cache", *lines, "def predict(data):", "    return text()"]))
    run(shell, "%localmme serve --models s3 --handler $predict")
    assert handler_of(shell).predict_fn(1, None) == "a\n          b\n    c"
    assert "def text():" in Path(served(shell)["handler"]).read_text()


def test_an_integer_that_python_does_not_write_is_taken_along(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shell, "n = 1\ndef predict(data):\n    return n % 7\n")
    run(shell, "%localmme serve --models s3 --handler $predict")
    run(shell, "n = 10**5000")
    assert handler_of(shell).predict_fn(1, None) == 10**5000 % 7 and capsys.readouterr().err == ""


def test_a_cell_that_names_an_encoding_is_read_as_it_was_written(shell: InteractiveShell) -> None:
    run(shell, "%%localmme handler\n# coding: latin-1\ndef handle(data, context):\n    return 'caf\u00e9'\n")
    run(shell, "%localmme serve --models s3")
    assert handler_of(shell).handle(None, None) == "caf\u00e9"


@pytest.mark.parametrize(
    "source, name",
    [
        ("async def predict(data): pass", "predict"),
        ("async def predict(data):\n    yield 1", "predict"),
        ("def predict(data): pass\nasync def output_fn(prediction, accept): pass", "output_fn"),
        ("async def handle(data, context): pass\npredict = lru_cache(handle)", "predict"),
    ],
)
def test_an_async_function_is_refused(shell: InteractiveShell, source: str, name: str) -> None:
    run(shell, f"from functools import lru_cache\n{source}")
    assert f"{name} is async" in refused(shell, "%localmme serve --models s3 --handler $predict")


@pytest.mark.parametrize(
    "source, name, roles",
    [
        ("def answer(data, context): return ['a']", "answer", {"handle"}),
        ("def handle(data, context): return ['a']\ndef input_fn(body, type): pass", "handle", {"handle"}),
        ("def answer(rows, model): return 'a'", "answer", {"predict_fn"}),
        ("def answer(rows): return 'a'", "answer", {"predict_fn", "model_fn"}),
        ("def transform_fn(model, body, type, accept): pass\ndef predict_fn(data, model): pass", "transform_fn",
         {"transform_fn"}),
        ("def predict_fn(data, model): pass\ndef output_fn(data, accept): pass", "predict_fn",
         {"predict_fn", "output_fn"}),
        ("def model_fn(directory): pass\ndef transform_fn(model, body, type, accept): pass", "model_fn", {"model_fn"}),
    ],
)  # fmt: skip
def test_what_a_function_is_to_the_container(shell: InteractiveShell, source: str, name: str, roles: set[str]) -> None:
    run(shell, source)
    run(shell, f"%localmme serve --models s3 --handler ${name}")
    known = {"handle", "model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn"}
    assert known & set(vars(handler_of(shell))) == roles


@pytest.mark.parametrize(
    "parameters, returned, expected",
    [
        ("data, threshold=0.5", "threshold", 0.5),
        ("data, *, threshold=0.5", "threshold", 0.5),
        ("data, **options", "options", {}),
        ("data=1, model=None", "data, model", (7, "the model")),
        ("data, model, threshold=0.5", "model, threshold", ("the model", 0.5)),
        ("*given", "given", (7, "the model")),
    ],
)
def test_a_parameter_with_a_default_is_not_the_model(
    shell: InteractiveShell, parameters: str, returned: str, expected: Any
) -> None:
    run(shell, f"def model_fn(directory): pass\ndef predict({parameters}):\n    return {returned}\n")
    run(shell, "%localmme serve --models s3 --handler $predict")
    assert handler_of(shell).predict_fn(7, "the model") == expected


@pytest.mark.parametrize("parameters, says", [("data, *, by", "predict needs by="), ("", "predict takes no argument")])
def test_a_function_that_no_container_can_call_is_refused(shell: InteractiveShell, parameters: str, says: str) -> None:
    run(shell, f"def predict({parameters}):\n    return 1\n")
    assert says in refused(shell, "%localmme serve --models s3 --handler $predict")


@pytest.mark.parametrize(
    "arguments, says",
    [
        ("--models s3 --handler $predcit", "The notebook has no variable predcit: did you mean predict?"),
        ("--models=${nothing_like_it}", "The notebook has no variable nothing_like_it"),
        ("--models s3 --handler $service.run", "$service is no function, text or path: its type is Service."),
        ("--models s3 --handler $names", "$names is no function"),
        ("--models s3 --handler nothing.py:handle", "There is no handler file nothing.py."),
        ("--models nothing", "There is no directory nothing."),
        ("nothing.yaml", "There is no file nothing.yaml."),
    ],
)
def test_a_mistake_does_not_stop_the_emulator_that_runs(shell: InteractiveShell, arguments: str, says: str) -> None:
    run(shell, "%localmme serve --models s3")
    run(shell, "def predict(data): pass\nclass Service: pass\nservice, names = Service(), ['handler.py']\n")
    assert says in refused(shell, f"%localmme serve {arguments}")
    assert shell.user_ns["localmme_emulator"].is_running


def test_values_that_cannot_be_a_handler_are_refused(shell: InteractiveShell) -> None:
    run(shell, "import threading\nlock, table = threading.Lock(), [1]\nclass Service: pass\n")
    run(
        shell,
        "def locked(data):\n    return lock, table\ndef calls(data, model):\n    return predict_fn(data, model)\n",
    )
    run(shell, "def predict_fn(data, model):\n    return data\n")
    assert "locked uses lock of the notebook, which cannot be taken along: TypeError: " in refused(
        shell, "%localmme serve --models s3 --handler $locked"
    )
    assert "$Service is no function" in refused(shell, "%localmme serve --models s3 --handler $Service")
    assert "--handler $predict_fn" in refused(shell, "%localmme serve --models s3 --handler $calls")
    assert "localmme_emulator" not in shell.user_ns


def test_without_cloudpickle_values_are_refused_and_the_rest_works(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    run(shell, "table, limit = [1], 0.3\ndef simple(data):\n    return limit\ndef predict(data):\n    return table\n")
    run(shell, "%localmme serve --models s3 --handler $simple")
    assert 'pip install "localmme[notebook]"' in refused(shell, "%localmme serve --models s3 --handler $predict")


def members(archive: str) -> list[str]:
    with tarfile.open(archive) as tar:
        return tar.getnames()


def test_models_and_functions_of_the_notebook_are_packed(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("means.py").write_text("class Mean:\n    def predict(self, rows): return [1 for _ in rows]\n")
    monkeypatch.syspath_prepend(".")
    run(shell, "from means import Mean\nporto = Mean()")
    run(shell, "%localmme pack $porto")
    assert "porto.tar.gz: " in capsys.readouterr().out
    assert members("porto.tar.gz") == ["code", "code/inference.py", "porto.joblib"]
    run(shell, "def predict(data, model):\n    return features\nfeatures = 1\n")
    run(shell, "%localmme pack $porto --handler $predict -o own.tar.gz")
    with tarfile.open("own.tar.gz") as tar:
        source = tar.extractfile("code/inference.py").read().decode()  # type: ignore[union-attr]
    assert "features = 1\n" in source and "predict_fn = predict" in source and "sys.path" not in source
    run(shell, "features = []")
    assert "predict uses features of the notebook, which the archive would not have" in refused(
        shell, "%localmme pack $porto --handler $predict -o other.tar.gz"
    )
    run(shell, "class Own(Mean): pass\nown = Own()")
    assert "$own is of the notebook's own class Own" in refused(shell, "%localmme pack $own")
    assert "There is no file or directory nothing" in refused(shell, "%localmme pack nothing")
    Path("broken.tar.gz").write_bytes(b"no archive")
    assert "see above" in refused(shell, "%localmme pack --verify broken.tar.gz")
    assert not Path("other.tar.gz").exists()


def test_a_packed_function_can_load_its_model_and_says_what_it_brings_and_lacks(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("means.py").write_text("class Mean:\n    def predict(self, rows): return [1 for _ in rows]\n")
    Path("features.py").write_text("def double(x): return 2 * x\n")
    monkeypatch.syspath_prepend(".")
    run(shell, "from means import Mean\nimport features, json, sys\nporto, TOKEN = Mean(), 'sk-secret'\n")
    run(
        shell, "def predict(data, model):\n    import means\n    sys, json, features\n    return model.predict(TOKEN)\n"
    )
    capsys.readouterr()
    run(shell, "%localmme pack --handler $predict $porto")
    said = capsys.readouterr()
    assert "code/inference.py has the values of TOKEN." in said.out and "sk-secret" not in said.out
    assert "Warning: predict imports features, means from beside the notebook." in said.err
    with tarfile.open("porto.tar.gz") as tar:
        tar.extractall("extracted", filter="data")
    handler = import_file("extracted/code/inference.py")
    assert handler.predict_fn("", handler.model_fn("extracted")) == [1] * len("sk-secret")
    assert "predict takes a model, and nothing would load it" in refused(
        shell, "%localmme pack s3 --handler $predict -o other.tar.gz"
    )


LOG = """\
loaded     a.tar.gz (17 ms)
  | Traceback (most recent call last):
  |   File "handler.py", line 2, in warned
  | ValueError: of no interest
  main | Model a: invocation 1 failed
  main | Traceback (most recent call last):
  main |   File "handler.py", line 4, in handle
  main |     json.loads(data)
  main | KeyError: 'a'
  main |
  main | During handling of the above exception, another exception occurred:
  main |
  main | Traceback (most recent call last):
  main |   File "handler.py", line 6, in handle
  main | json.decoder.JSONDecodeError: Expecting value: line 1
failed     a.tar.gz
"""
MESSAGE = "JSONDecodeError: Expecting value: line 1"


def test_the_frames_in_the_log_are_those_of_the_exception_that_was_answered() -> None:
    frames = failures.frames_of(MESSAGE, LOG)
    assert frames.count("Traceback") == 2 and frames.endswith("line 6, in handle\n") and "no interest" not in frames
    assert failures.frames_of("ValueError: of no interest", LOG).count("\n") == 2
    assert failures.frames_of("ValueError: another", LOG) == ""
    assert failures.frames_of(MESSAGE, LOG[: LOG.index("json.decoder")]) == ""  # it is still being written


@pytest.mark.parametrize(
    "answer, shown",
    [
        ("boom\nTraceback (most recent call last):\n  File a\nValueError: boom",
         "Traceback (most recent call last):\n  File a\nValueError: boom (ModelError"),
        (f'{{"message": "{MESSAGE}"}}', 'line 6, in handle\nJSONDecodeError: Expecting value: line 1 (ModelError'),
        ('{"message": "Prediction failed"}', "Prediction failed (ModelError"),
    ],
)  # fmt: skip
def test_a_failure_begins_with_the_handlers_own_frames(answer: str, shown: str) -> None:
    logs = iter(["", LOG])  # it comes a moment later than the answer
    response = {"Error": {"Code": "ModelError", "Message": "m"}, "OriginalMessage": answer, "OriginalStatusCode": 500}
    failure = failures.failure(SimpleNamespace(response=response), lambda: next(logs))
    assert shown in "\n".join(failure._render_traceback_())


@pytest.mark.parametrize(
    "value, sent",
    [
        ("{'rooms': 3, 'new': True}", b'{"rooms": 3, "new": true}'),
        ("[1.5, None, ('\u00e9',)]", b'[1.5, null, ["\\u00e9"]]'),
        ("'1,2\\n'", b"1,2\n"),
        ("'a\u00e9'.encode()", "a\u00e9".encode()),
        ("True", b"true"),
    ],
)
def test_a_variable_is_sent_as_a_request_has_it(shell: InteractiveShell, value: str, sent: bytes) -> None:
    run(shell, f"%localmme serve --models s3\ndata = {value}\n%localmme invoke a.tar.gz --data $data")
    assert shell.user_ns["localmme_emulator"].sent == sent


def test_a_variable_that_no_request_can_have_is_not_sent(shell: InteractiveShell) -> None:
    run(shell, "%localmme serve --models s3\nimport array\ndata, raw = array.array('i', [1]), b'\\xff'")
    invoke = "%localmme invoke a.tar.gz --data"
    assert "$data cannot be sent as JSON: " in (said := refused(shell, f"{invoke} $data")) and ".tolist()" in said
    assert "$raw is no text. Write it to a file" in refused(shell, f"{invoke} $raw")
    assert "$stdin cannot be sent" in refused(shell, f"import sys; stdin = sys.stdin\n{invoke} $stdin")
    assert not hasattr(shell.user_ns["localmme_emulator"], "sent")


ENDED = f"""\
  | Traceback (most recent call last):
  |   File "<frozen runpy>", line 198, in _run_module_as_main
  |   File "{emulator.__path__[0]}/model_server/workers/worker.py", line 53, in work
  |     _send(connection, service.invoke(frame.body, **frame.fields))
  |   File "handler.py", line 10, in predict_fn
  |     raise RuntimeError("Missing keys")
  | RuntimeError: Missing
  | \tkeys
  | Model a: a worker process died, 0 left
"""


@pytest.mark.parametrize(
    "status, answer, log, ends",
    [
        (500, "Missing keys" + "x" * 2036, LOG, "\njson.decoder.JSONDecodeError: Expecting value: line 1"),
        (500, f"'nope'\nTraceback (most recent call last):\n{' ' * 2014}", ENDED, "Missing\n\tkeys\nModel a: a worker"),
        (500, '{"code": 500, "message": "'.ljust(2048, "x"), ENDED, "Missing\n\tkeys\nModel a: a worker"),
        (0, "", ENDED, "\nRuntimeError: Missing\nModelError: m"),
        (500, '{"message": "The worker process died: exit code 1"}', ENDED,
         "\nRuntimeError: Missing\nThe worker process died: exit code 1 (ModelError"),
    ],
)  # fmt: skip
def test_a_failure_that_the_answer_does_not_have_whole_is_the_logs(
    status: int, answer: str, log: str, ends: str
) -> None:
    response = {"Error": {"Code": "ModelError", "Message": "m"}, "OriginalMessage": answer}
    error = SimpleNamespace(response={**response, "OriginalStatusCode": status})
    shown = str(failures.failure(error, lambda: log))
    assert shown.startswith('Traceback (most recent call last):\n  File "handler.py", line ') and ends in shown
    assert "worker.py" not in shown and "xxx" not in shown


def test_without_a_traceback_in_the_log_as_much_of_the_message_as_there_is_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failures, "LOG_SECONDS", 0.0)
    answer = '{\n  "code": 500,\n  "message": "two\\nlines \\"'.ljust(2042, "x") + "\\u00e"
    response = {"Error": {"Code": "ModelError", "Message": "m"}, "OriginalMessage": answer}
    shown = str(failures.failure(SimpleNamespace(response=response), lambda: ""))
    assert shown.startswith('two\nlines "xxx') and "xxx (ModelError" in shown
