"""Models as their libraries save them: packed with an entry point, loaded, and called as the library itself would."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import onnxruntime
import pytest
import xgboost
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from localmme.pack.pickles import class_in
from tests.support import onnx_models
from tests.support.command_line import localmme
from tests.support.handlers import CSV, JSON, Model, Models
from tests.support.packed_models import extracted
from tests.support.repository import REPOSITORY

ROWS = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.5], [7.0, 8.0, 0.5], [0.5, 1.5, 2.5]] * 10)
PRICES = ROWS @ [3.0, 2.0, 1.0] + 5
ASKED = ROWS[:2]
AS_CSV = b"1,2,3\n4,5,6.5\n"
AS_JSON = json.dumps(ASKED.tolist()).encode()


def xgboost_file(directory: Path, name: str) -> tuple[Path, Any]:
    names = ["rooms", "area", "age"]
    model = xgboost.train({"nthread": 1}, xgboost.DMatrix(ROWS, PRICES, feature_names=names), num_boost_round=3)
    model.save_model(directory / name)
    return directory / name, model.predict(xgboost.DMatrix(ASKED, feature_names=names))


def lightgbm_file(directory: Path, name: str) -> tuple[Path, Any]:
    parameters = {"min_data_in_leaf": 1, "verbose": -1, "num_threads": 1}
    model = lightgbm.train(parameters, lightgbm.Dataset(ROWS, PRICES), num_boost_round=3)
    model.save_model(directory / name)
    return directory / name, model.predict(ASKED)


def onnx_file(directory: Path, name: str) -> tuple[Path, Any]:
    (directory / name).write_bytes(onnx_models.linear([3, 2, 1], 5))
    session = onnxruntime.InferenceSession(directory / name, providers=["CPUExecutionProvider"])
    return directory / name, session.run(None, {"rows": ASKED.astype("float32")})[0]


def joblib_file(directory: Path, name: str) -> tuple[Path, Any]:
    model = LinearRegression().fit(ROWS, PRICES)
    joblib.dump(model, directory / name, compress=3 if name.startswith("small") else 0)
    return directory / name, model.predict(ASKED)


def pickle_file(directory: Path, name: str) -> tuple[Path, Any]:
    model = LinearRegression().fit(ROWS, PRICES)
    (directory / name).write_bytes(pickle.dumps(model))
    return directory / name, model.predict(ASKED)


def packed(source: Path, tmp_path: Path, load: Models, *options: str) -> Model:
    """The archive of a source, extracted and loaded."""
    localmme("pack", str(source), "-o", str(tmp_path / "packed.tar.gz"), *options, check=True)
    return load.loaded(extracted(tmp_path / "packed.tar.gz", tmp_path / "extracted"))


@pytest.mark.filterwarnings("ignore:.*UBJSON")  # it warns of the suffix .bst
@pytest.mark.parametrize(
    "make, name, flavor",
    [
        (xgboost_file, "city.ubj", "xgboost"),
        (xgboost_file, "city.json", "xgboost"),
        (xgboost_file, "city.bst", "xgboost"),
        (lightgbm_file, "city.txt", "lightgbm"),
        (lightgbm_file, "city.bst", "lightgbm"),
        (onnx_file, "city.onnx", "onnx"),
        (joblib_file, "city.joblib", "joblib"),
        (joblib_file, 'small "city".pkl', "joblib"),
        (pickle_file, "city.pkl", "joblib"),
    ],
)
def test_a_models_file_is_packed_with_a_handler_that_predicts_what_its_library_does(make, name, flavor, tmp_path, load):
    (tmp_path / "made").mkdir()
    file, expected = make(tmp_path / "made", name)
    model = packed(file, tmp_path, load)
    told = json.loads(localmme("pack", str(file), "-o", str(tmp_path / "told.tar.gz"), "--json", check=True).stdout)
    assert told["flavor"] == flavor
    assert {path.name for path in model.directory.iterdir()} == {"code", name}
    expected = np.asarray(expected)
    for body, content_type in ((AS_CSV, CSV), (AS_JSON, JSON), (AS_JSON, f"{JSON}; charset=utf-8")):
        answer = model.ask(body, content_type)
        assert answer.status == 200, answer.body
        assert np.array_equal(np.array(answer.json(), dtype=expected.dtype), expected)
    lines = model.ask(AS_CSV, accept=CSV).body.decode().split()
    assert np.array_equal(np.array(lines, dtype=expected.dtype), expected.ravel())
    assert np.array_equal(np.array(model.ask(b"[1, 2, 3]", JSON).json(), dtype=expected.dtype), expected[:1])
    instances = json.dumps({"instances": ASKED.tolist()}).encode()
    if flavor != "onnx":
        assert model.ask(instances, JSON).json() == model.ask(AS_CSV).json()
    assert b"Send text/csv or application/json, not image/png" in model.ask(b"", "image/png").body


def test_what_is_missing_in_a_row_is_missing_for_the_model(tmp_path, load):
    file, _ = xgboost_file(tmp_path, "city.ubj")
    model = packed(file, tmp_path, load)
    missing = xgboost.DMatrix([[1, np.nan, 3]], feature_names=["rooms", "area", "age"])
    booster = xgboost.Booster(model_file=file)
    expected = booster.predict(missing).tolist()
    assert model.ask(b"1, ,3\n").json() == expected
    assert model.ask(b"[[1, null, 3]]", JSON).json() == expected


def test_an_onnx_model_with_several_inputs_takes_and_gives_them_by_name(tmp_path, load):
    file = tmp_path / "sums.onnx"
    file.write_bytes(onnx_models.sum_and_difference())
    model = packed(file, tmp_path, load)
    answer = model.ask(b'{"a": [[7], [1]], "b": [2, 3]}', JSON)
    assert answer.json() == {"sum": [[9], [4]], "difference": [[5], [-2]]}
    assert model.ask(b'{"a": [[7], [1]], "b": [2, 3]}', JSON, accept=CSV).body == b"9\n4\n"
    assert b"there is no value for ['b']" in model.ask(b"[[7], [1]]", JSON).body


def test_a_pickled_model_of_texts_takes_texts(tmp_path, load):
    model = make_pipeline(CountVectorizer(), MultinomialNB()).fit(["good food", "bad food"], ["yes", "no, never"])
    joblib.dump(model, tmp_path / "reviews.joblib")
    loaded = packed(tmp_path / "reviews.joblib", tmp_path, load)
    assert loaded.ask(b'["so good", "so bad"]', JSON).json() == ["yes", "no, never"]
    assert loaded.ask(b'["so good", "so bad"]', JSON, accept=CSV).body == b'yes\n"no, never"\n'


def test_the_class_of_a_pickle_is_seen_without_loading_it(tmp_path):
    regression = LinearRegression().fit(ROWS, PRICES)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert class_in(pickle.dumps(regression, protocol)) == "sklearn.linear_model._base.LinearRegression"
    for compress in (0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)):
        joblib.dump(regression, tmp_path / "model", compress=compress)
        first = (tmp_path / "model").read_bytes()
        assert class_in(first) == "sklearn.linear_model._base.LinearRegression", compress
    for damaged in (b"", b"\x80", b"x\x9c damaged", b"\x80\x04\x95", b"text"):
        assert class_in(damaged) == ""


def test_no_pickle_is_loaded_when_it_is_packed(tmp_path):
    ran = tmp_path / "ran"
    (tmp_path / "evil.pkl").write_bytes(b"cos\nsystem\n(S'touch " + str(ran).encode() + b"'\ntR.")
    result = localmme("pack", str(tmp_path / "evil.pkl"), "-o", str(tmp_path / "a.tar.gz"), check=True)
    assert "os.system, pickled" in result.stdout
    assert not ran.exists()


def test_a_class_of_a_script_is_reported_as_one_that_cannot_be_loaded(tmp_path):
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04\x8c\x08__main__\x8c\x07Doubled\x93)\x81.")
    result = localmme("pack", str(tmp_path / "model.pkl"), "-o", str(tmp_path / "a.tar.gz"), check=True)
    assert "__main__.Doubled was defined in a script or notebook" in result.stdout


def test_what_pack_writes_is_shown_and_says_what_it_needs(tmp_path):
    file, _ = joblib_file(tmp_path, "city.joblib")
    shown = localmme("pack", "--show", str(file), check=True).stdout
    written = localmme("pack", str(file), "-o", str(tmp_path / "a.tar.gz"), check=True)
    assert written.stdout.splitlines()[1] == (
        "  city.joblib: sklearn.linear_model._base.LinearRegression, pickled. pack wrote code/inference.py for it, "
        f"which needs joblib, scikit-learn. To read it: localmme pack --show {file}"
    )
    packed_text = (extracted(tmp_path / "a.tar.gz", tmp_path / "out") / "code" / "inference.py").read_text()
    assert shown == packed_text
    source = REPOSITORY / "localmme" / "pack" / "entry_points" / "joblib.py"
    assert packed_text == source.read_text().replace("model.joblib", "city.joblib")


def test_the_entry_points_read_and_write_rows_in_the_same_way():
    directory = REPOSITORY / "localmme" / "pack" / "entry_points"

    def functions(flavor: str, *names: str) -> list[str]:
        text = (directory / f"{flavor}.py").read_text()
        return [text.partition(f"def {name}(")[2].partition("\n\n\n")[0].rstrip() for name in names]

    assert functions("xgboost", "input_fn", "output_fn") == functions("lightgbm", "input_fn", "output_fn")
    assert functions("xgboost", "output_fn") == functions("joblib", "output_fn")
    assert functions("joblib", "_value") == functions("onnx", "_value")


def test_a_directory_with_one_model_and_no_handler_gets_one(tmp_path, load):
    (tmp_path / "city").mkdir()
    _, expected = lightgbm_file(tmp_path / "city", "trees.txt")
    (tmp_path / "city" / "metrics.json").write_text("{}")
    assert packed(tmp_path / "city", tmp_path, load).ask(AS_CSV).json() == expected.tolist()


@pytest.mark.parametrize(
    "handler", ["code/inference.py", "inference.py", "code/serve.py", "handler.py", "1/model.onnx"]
)
def test_a_directory_that_has_a_handler_or_needs_none_is_packed_as_it_is(tmp_path, handler):
    joblib_file(tmp_path, "city.joblib")
    city = tmp_path / "city"
    (city / handler).parent.mkdir(parents=True)
    (city / handler).write_text("")
    (tmp_path / "city.joblib").rename(city / "city.joblib")
    names = [entry["name"] for entry in json.loads(localmme("pack", str(city), "--list", "--json", check=True).stdout)]
    assert sorted(names) == sorted({"city.joblib", handler, handler.partition("/")[0]})
    assert "it has a handler, or needs none" in localmme("pack", str(city), "--show").stderr


def test_a_handler_of_the_users_is_put_beside_a_models_file(tmp_path, load):
    (tmp_path / "weights.bin").write_bytes(b"12345")
    handler = tmp_path / "mine.py"
    handler.write_text(
        "import os\ndef model_fn(d): return os.path.getsize(os.path.join(d, 'weights.bin'))\n"
        "def predict_fn(data, model): return [model]\n"
    )
    refused = localmme("pack", str(tmp_path / "weights.bin"))
    assert refused.returncode == 2 and "is not recognized as a model: pack knows LightGBM, XGBoost" in refused.stderr
    model = packed(tmp_path / "weights.bin", tmp_path, load, "--handler", str(handler))
    assert model.ask(b"1").json() == [5]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--flavor", "xgbost", "{tmp}/city.joblib"], "There is no flavor xgbost: did you mean xgboost?"),
        (["--flavor", "onnx", "{tmp}", "--as-one"], "needs one model in {tmp}; there is none that is recognized"),
        (["--flavor", "onnx", "--handler", "h.py", "{tmp}"], "exclude each other"),
        (["--verify", "--handler", "h.py", "{tmp}"], "are for packing"),
        (["--handler", "{tmp}/none.py", "{tmp}/city.joblib"], "The handler {tmp}/none.py cannot be read"),
        (["--handler", "{tmp}/city.joblib", "{tmp}/served"], "has code/inference.py already"),
        (["--flavor", "joblib", "{tmp}/blocked"], "code is where --flavor joblib needs a directory"),
        (["--show", "--flavor", "none", "{tmp}/city.joblib"], "--flavor none says so"),
    ],
)
def test_options_that_do_not_fit_the_model_are_refused(tmp_path, arguments, words):
    joblib_file(tmp_path, "city.joblib")
    (tmp_path / "notes.md").write_text("")
    (tmp_path / "served" / "code").mkdir(parents=True)
    (tmp_path / "served" / "code" / "inference.py").write_text("")
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "code").write_text("")
    result = localmme("pack", *(argument.format(tmp=tmp_path) for argument in arguments))
    assert (result.returncode, result.stdout) == (2, "")
    assert words.format(tmp=tmp_path) in result.stderr and result.stderr.count("\n") == 1
