"""Directories that libraries save models to: MLflow's, and those of Hugging Face."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas
import pytest
from sklearn.linear_model import LinearRegression

from localmme.pack import huggingface_model
from tests.support import mlflow_models
from tests.support.command_line import localmme
from tests.support.handlers import CSV, JSON, Model, Models
from tests.support.packed_models import extracted, tree

ROW = {"rooms": 1, "city": "a", "area": 10.0}


def packed(source: str | Path, tmp_path: Path, load: Models) -> Model:
    localmme("pack", str(source), "-o", str(tmp_path / "packed.tar.gz"), check=True)
    return load.loaded(extracted(tmp_path / "packed.tar.gz", tmp_path / "extracted"))


@pytest.mark.parametrize(
    "body, content_type",
    [
        ({"dataframe_split": {"columns": ["area", "city", "rooms"], "data": [[10, "a", 1]]}}, JSON),
        ({"dataframe_records": [ROW]}, JSON),
        ({"instances": [ROW]}, JSON),
        ({"inputs": {name: [value] for name, value in ROW.items()}}, JSON),
        ([[1, "a", 10]], f"{JSON}; charset=utf-8"),
        ("1,a,10\n", CSV),
        ("rooms,city,area\n1,a,10\n", CSV),
        ("area, city, rooms\n10,a,1\n".replace(" ", ""), CSV),
    ],
)
def test_an_mlflow_model_gets_a_table_with_the_columns_and_types_of_its_signature(
    tmp_path, load, monkeypatch, body, content_type
):
    mlflow_models.install(monkeypatch)
    model = packed(mlflow_models.write(tmp_path / "model"), tmp_path, load)
    data = body if isinstance(body, str) else json.dumps(body)
    assert model.ask(data.encode(), content_type).json() == {"predictions": [ROW]}
    lines = model.ask(data.encode(), content_type, accept=CSV).body.decode().splitlines()
    assert sorted(zip(lines[0].split(","), lines[1].split(","))) == [("area", "10.0"), ("city", "a"), ("rooms", "1")]


@pytest.mark.parametrize("body", ['{"inputs": [[1, 2]]}', '{"instances": [[1, 2]]}', "[[1, 2]]", "1,2\n"])
def test_an_mlflow_model_of_tensors_gets_an_array(tmp_path, load, monkeypatch, body):
    mlflow_models.install(monkeypatch)
    model = packed(mlflow_models.write(tmp_path / "model", tensor=True), tmp_path, load)
    content_type = CSV if body[0] == "1" else JSON
    assert model.ask(body.encode(), content_type).json() == {"predictions": [[1.0, 2.0]]}
    assert model.ask(body.encode(), content_type, accept=CSV).body == b"1.0,2.0\n"


def test_what_an_mlflow_model_needs_is_said_when_it_is_packed(tmp_path):
    directory = mlflow_models.write(tmp_path / "lisbon")
    told = localmme("pack", str(directory), "-o", str(tmp_path / "a.tar.gz"), "--json", check=True)
    [written, requirements, example] = json.loads(told.stdout)["notes"]
    assert written.startswith("MLmodel: an MLflow model of mlflow.sklearn (Python 3.11.7, MLflow 3.17.2). pack wrote")
    assert "mlflow==3.17.2, scikit-learn==1.9.1. SageMaker's multi-model containers do not install" in requirements
    assert example == "Its input example, serving_input_example.json, is what localmme check sends without --data."
    unsigned = mlflow_models.write(tmp_path / "unsigned", signature=None)
    assert "It has no signature" in localmme("pack", str(unsigned), "-o", str(tmp_path), check=True).stdout


@pytest.mark.parametrize(
    "description, words",
    [("flavors: {spark: {}}", "has no flavor python_function"), ("a: [", "is not YAML"), ("text", "has no flavor")],
)
def test_a_damaged_description_of_an_mlflow_model_is_an_error(tmp_path, description, words):
    directory = mlflow_models.write(tmp_path / "lisbon")
    (directory / "MLmodel").write_text(description)
    result = localmme("pack", str(directory), "-o", str(tmp_path))
    assert result.returncode == 2 and words in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "uri, name",
    [("models:/lisbon/3", "lisbon-3"), ("models:/lisbon@best", "lisbon-best"), ("runs:/0a1b/models/porto", "porto")],
)
def test_a_model_that_is_named_by_a_uri_is_downloaded_by_mlflow(tmp_path, monkeypatch, uri, name):
    def download(artifact_uri: str, dst_path: str) -> str:
        assert artifact_uri == uri
        return str(mlflow_models.write(Path(dst_path) / "files"))

    monkeypatch.setattr(mlflow_models.install(monkeypatch), "download_artifacts", download, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "s3").mkdir()
    result = localmme("pack", uri, "-o", str(tmp_path / "s3"), check=True)
    assert f"localmme pack --show {uri}" in result.stdout
    assert [path.name for path in tmp_path.rglob("*")] == ["s3", f"{name}.tar.gz"]  # and no download is left
    directory = extracted(tmp_path / "s3" / f"{name}.tar.gz", tmp_path / "out")
    assert {"MLmodel", "code", "requirements.txt"} < {path.name for path in directory.iterdir()}


def test_a_uri_is_refused_where_mlflow_is_not_installed_or_cannot_find_it(tmp_path, monkeypatch):
    def download(artifact_uri: str, dst_path: str) -> str:
        raise ValueError("There is no run 0a1b.")

    monkeypatch.setattr(mlflow_models.install(monkeypatch), "download_artifacts", download, raising=False)
    result = localmme("pack", "runs:/0a1b/model", "-o", str(tmp_path))
    assert result.returncode == 2 and "MLflow cannot download runs:/0a1b/model: There is no run 0a1b." in result.stderr
    monkeypatch.setitem(sys.modules, "mlflow", None)
    result = localmme("pack", "runs:/0a1b/model", "-o", str(tmp_path))
    assert result.returncode == 2 and "which is not installed here: pip install mlflow-skinny" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_pickled_model_that_was_trained_on_a_table_gets_a_table(tmp_path, load):
    table = pandas.DataFrame({"rooms": [1.0, 2, 3, 4], "area": [10.0, 21, 29, 42]})
    regression = LinearRegression().fit(table, table["rooms"] * 3 + table["area"])
    joblib.dump(regression, tmp_path / "city.joblib")
    expected = regression.predict(table[:1]).tolist()
    model = packed(tmp_path / "city.joblib", tmp_path, load)
    for body in (b'{"area": 10, "rooms": 1}', b'[{"area": 10, "rooms": 1}]', b"[[1, 10]]", b"[1, 10]"):
        assert np.allclose(model.ask(body, JSON).json(), expected)
    assert np.allclose(model.ask(b"1,10\n").json(), expected)


CONFIGURATION = {"architectures": ["BertForSequenceClassification"], "model_type": "bert"}
CARD = "---\nlicense: mit\npipeline_tag: {}\n---\n# A model\n"


@pytest.mark.parametrize(
    "configuration, card, options, task",
    [
        (CONFIGURATION, "", [], "text-classification"),
        (CONFIGURATION, CARD.format("fill-mask"), [], "fill-mask"),
        (CONFIGURATION, CARD.format("sentence-similarity"), [], "text-classification"),  # no pipeline has that task
        (CONFIGURATION, CARD.format("fill-mask"), ["--task", "zero-shot-classification"], "zero-shot-classification"),
        ({"architectures": ["GPT2LMHeadModel"]}, "---\nbroken: [\n---\n", [], "text-generation"),
        ({"architectures": ["LlamaForCausalLM"]}, "# No front matter", [], "text-generation"),
    ],
)
def test_the_task_of_a_hugging_face_model_is_that_of_its_card_or_its_architecture(
    tmp_path, configuration, card, options, task
):
    files = {
        "config.json": json.dumps(configuration),
        "model.safetensors": "1",
        **({"README.md": card} if card else {}),
    }
    directory = tree(tmp_path / "model", files)
    shown = localmme("pack", "--show", str(directory), *options, check=True).stdout
    assert f'\nTASK = "{task}"\n' in shown


def test_a_hugging_face_model_without_a_known_task_is_packed_without_a_handler(tmp_path):
    directory = tree(tmp_path / "model", {"config.json": '{"model_type": "new"}', "model.safetensors": "1"})
    assert huggingface_model.is_model(directory)
    result = localmme("pack", str(directory), "-o", str(tmp_path), check=True)
    assert "pack wrote no code/inference.py: neither config.json nor README.md names the task" in result.stdout
    assert not (extracted(tmp_path / "model.tar.gz", tmp_path / "out") / "code").exists()
    joblib.dump({}, tmp_path / "city.joblib")
    result = localmme("pack", str(tmp_path / "city.joblib"), "-o", str(tmp_path), "--task", "fill-mask")
    assert result.returncode == 2 and "--task is for pipelines of Hugging Face" in result.stderr
