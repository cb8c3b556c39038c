"""The samples, as far as they go without the emulator."""

import importlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("sklearn")

HOUSE_PRICES = Path(__file__).parents[2] / "samples" / "house_prices"
HOUSE = {"rooms": 3, "square_meters": 80, "age": 20}


def train(output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run train.py as a user does."""
    command = [sys.executable, str(HOUSE_PRICES / "train.py"), "--output", str(output), *options]
    utf_8 = os.environ | {"PYTHONUTF8": "1"}
    return subprocess.run(command, capture_output=True, check=True, encoding="utf-8", env=utf_8)


@pytest.fixture(scope="module")
def sample():
    """The sample's modules. They import each other by their bare names, as in a model server."""
    names = ["cities", "handler", "handler_mms", "train"]
    sys.path.insert(0, str(HOUSE_PRICES))
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    sys.path.remove(str(HOUSE_PRICES))
    for name in names:
        del sys.modules[name]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A directory with every city's archive, and what train.py printed."""
    directory = tmp_path_factory.mktemp("models")
    return SimpleNamespace(directory=directory, printed=train(directory).stdout)


@pytest.fixture
def extracted(trained, tmp_path):
    """Extracts a city's archive and returns the model directory."""

    def extract(city: str) -> str:
        directory = tmp_path / city
        with tarfile.open(trained.directory / f"{city}.tar.gz") as tar:
            tar.extractall(directory, filter="data")
        return str(directory)

    return extract


class MmsContext:
    """As much of MMS's context as a service uses."""

    def __init__(self, model_dir: str, headers: list[dict[str, str]]) -> None:
        self.system_properties = {"model_dir": model_dir}
        self.headers = headers
        self.content_types: dict[int, str] = {}
        self.statuses: dict[int, int] = {}

    def get_all_request_header(self, idx):
        return self.headers[idx]

    def set_response_content_type(self, idx, value):
        self.content_types[idx] = value

    def set_response_status(self, code=200, phrase="", idx=0):
        self.statuses[idx] = code


def test_train_writes_an_archive_for_each_city(sample, trained):
    written = {path.relative_to(trained.directory).as_posix() for path in trained.directory.rglob("*.tar.gz")}
    assert written == set(sample.cities.TARGET_MODELS)
    assert len(written) == 12


def test_train_prints_a_line_for_each_city_and_no_progress_bar(sample, trained):
    lines = trained.printed.splitlines()
    assert [line.split()[0] for line in lines] == sample.cities.TARGET_MODELS
    assert all(float(line.split()[2]) > 0.9 for line in lines)


def test_an_archive_has_its_files_at_the_root(trained):
    with tarfile.open(trained.directory / "europe" / "lisbon.tar.gz") as tar:
        assert tar.getnames() == ["model.joblib", "about.json"]


def test_the_same_seed_trains_the_same_archives(sample, tmp_path, monkeypatch):
    # All in this process: what it has loaded before shows in the bytes of what it pickles.
    for name, seed in (("one", "0"), ("same", "0"), ("other", "1")):
        options = ["--output", str(tmp_path / name), "--cities", "2", "--seed", seed]
        monkeypatch.setattr(sys, "argv", ["train.py", *options])
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
        sample.train.main()
    archives = [path.relative_to(tmp_path / "same") for path in (tmp_path / "same").rglob("*.tar.gz")]
    assert len(archives) == 2
    for archive in archives:
        one, same, other = ((tmp_path / name / archive).read_bytes() for name in ("one", "same", "other"))
        assert one == same != other


@pytest.mark.parametrize(
    ("content_type", "body", "houses"),
    [
        ("application/json", json.dumps(HOUSE).encode(), 1),
        ("application/json; charset=utf-8", json.dumps([HOUSE, HOUSE]), 2),
        ("text/csv", b"3,80,20\n", 1),
        ("text/csv", "3,80,20\r\n3,80,20", 2),
    ],
)
def test_the_handler_prices_houses_of_each_content_type(sample, extracted, content_type, body, houses):
    handler = sample.handler
    for city in ("europe/lisbon", "africa/cairo"):
        model = handler.model_fn(extracted(city))
        prediction = handler.predict_fn(handler.input_fn(body, content_type), model)
        answer = json.loads(handler.output_fn(prediction, "application/json"))
        assert answer["city"] == city.split("/")[1]
        fair = sample.cities.CITIES[city] * (80 + 4 * 3) * 0.92
        assert answer["prices"] == [pytest.approx(fair, rel=0.15)] * houses


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("application/json", '{"rooms": 3, "age": 20}', "House 1 lacks square_meters: each needs rooms, square_meters"),
        ("application/json", json.dumps([HOUSE, {"rooms": 1}]), "House 2 lacks square_meters, age"),
        ("application/json", json.dumps(HOUSE | {"age": None}), "House 1 has a field that is not a number"),
        ("application/json", "[]", "no house"),
        ("application/json", "5", "no house"),
        ("application/json", "[5]", "House 1 lacks rooms"),
        ("text/csv", "3,80", "House 1 lacks age"),
        ("text/csv", "rooms,square_meters,age\n3,80,20", "House 1 has a field that is not a number"),
        ("image/png", "", "send application/json or text/csv"),
    ],
)
def test_a_request_that_the_handler_cannot_read_gets_a_clear_error(sample, content_type, body, message):
    with pytest.raises(ValueError, match=message):
        sample.handler.input_fn(body, content_type)


def test_an_answer_that_is_not_json_is_refused(sample):
    with pytest.raises(ValueError, match="accept application/json"):
        sample.handler.output_fn({}, "text/csv")


def test_the_mms_service_answers_as_the_handler_does(sample, extracted):
    handler, model_dir = sample.handler, extracted("asia/osaka")
    bodies = {"application/json": json.dumps(HOUSE).encode(), "text/csv": b"5,140,2"}
    context = MmsContext(model_dir, [{"content-type": content_type} for content_type in bodies])
    assert sample.handler_mms.handle(None, context) is None

    answers = sample.handler_mms.handle([{"body": body} for body in bodies.values()], context)

    model = handler.model_fn(model_dir)
    for answer, (content_type, body) in zip(answers, bodies.items()):
        assert json.loads(answer) == handler.predict_fn(handler.input_fn(body, content_type), model)
    assert context.content_types == {0: "application/json", 1: "application/json"}
    assert context.statuses == {}


def test_the_mms_service_answers_400_to_a_request_that_it_cannot_read(sample, extracted):
    context = MmsContext(extracted("asia/osaka"), [{"Content-Type": "text/csv"}, {"Content-Type": "text/csv"}])
    sample.handler_mms.handle(None, context)
    answers = sample.handler_mms.handle([{"body": b"3"}, {"body": b"3,80,20"}], context)
    assert "lacks square_meters, age" in answers[0]
    assert context.statuses == {0: 400}
    assert json.loads(answers[1])["city"] == "osaka"


def test_the_demo_says_in_one_line_that_no_emulator_is_there():
    command = [sys.executable, str(HOUSE_PRICES / "demo.py"), "--url", "http://127.0.0.1:1"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1 and "localmme serve" in ended.stderr


def test_the_notebook_is_committed_without_outputs():
    notebook = json.loads((HOUSE_PRICES / "walkthrough.ipynb").read_text("utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
