"""Several models at once: an archive each, and what is asked or refused before the first is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localmme.pack import command
from localmme.pack.flavors import models_in
from tests.support.command_line import localmme
from tests.support.packed_models import extracted, member, snapshot, tar_gz, tree

PICKLE = b"\x80\x04N."
HANDLER = "def model_fn(model_dir): ..."


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_each_source_becomes_an_archive_in_the_directory_that_is_named(tmp_path):
    tree(
        tmp_path,
        {"m1.pkl": PICKLE, "m2.pkl": PICKLE, "models/porto/weights": "1", "models/lisbon/weights": "2", "s3/": ""},
    )
    sources = [str(tmp_path / name) for name in ("m1.pkl", "m2.pkl", "models/porto/", "models/lisbon/")]
    result = localmme("pack", *sources, "-o", f"{tmp_path}/s3/", check=True)
    assert names_in(tmp_path / "s3") == ["lisbon.tar.gz", "m1.tar.gz", "m2.tar.gz", "porto.tar.gz"]
    archives = [line.partition(":")[0] for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert archives == [f"{tmp_path}/s3/{name}.tar.gz" for name in ("m1", "m2", "porto", "lisbon")]
    assert (extracted(tmp_path / "s3/lisbon.tar.gz", tmp_path / "out") / "weights").read_text() == "2"
    alone = localmme("pack", sources[0], "-o", str(tmp_path / "alone.tar.gz"), check=True)
    assert alone.stderr == ""
    assert (tmp_path / "alone.tar.gz").read_bytes() == (tmp_path / "s3/m1.tar.gz").read_bytes()


def test_several_are_told_as_a_list_of_json_and_the_worst_is_the_exit_code(tmp_path):
    tree(tmp_path, {"a/weights": "1", "b/": "", "c/weights": "1", "s3/": ""})
    sources = [str(tmp_path / name) for name in "abc"]
    result = localmme("pack", *sources, "-o", str(tmp_path / "s3"), "--json")
    assert result.returncode == 1
    assert [outcome["archive"] for outcome in json.loads(result.stdout)] == [
        f"{tmp_path}/s3/a.tar.gz", None, f"{tmp_path}/s3/c.tar.gz",
    ]  # fmt: skip
    bad = tar_gz(tmp_path / "s3" / "bad.tar.gz", member("../x"))
    result = localmme("pack", "--verify", *map(str, (tmp_path / "s3" / "a.tar.gz", bad)))
    assert result.returncode == 1
    assert [line.rpartition(": ")[2] for line in result.stdout.splitlines() if line.startswith(str(tmp_path))] == [
        "can be extracted (1 file, 1 B).", "does not work (1 file, 0 B).",
    ]  # fmt: skip


MANY = {
    "pickles": ({"a.pkl": PICKLE, "b.pkl": PICKLE, "readme.md": ""}, ["a.pkl", "b.pkl"], "/*.pkl"),
    "directories": ({"a/model.onnx": "1", "b/code/inference.py": "", "x.md": ""}, ["a", "b"], "/*/"),
    "some": ({"a/model.onnx": "1", "b/model.onnx": "", "c/data.csv": ""}, ["a", "b"], "/a {tmp}/models/b"),
    "mixed": ({"a.onnx": "1", "b.pkl": PICKLE}, ["a.onnx", "b.pkl"], "/a.onnx {tmp}/models/b.pkl"),
}


@pytest.mark.parametrize("files, models, pattern", MANY.values(), ids=MANY)
def test_a_directory_with_many_models_is_refused_with_the_command_for_an_archive_each(tmp_path, files, models, pattern):
    directory = tree(tmp_path / "models", files)
    assert [model.name for model in models_in(directory)] == models
    result = localmme("pack", str(directory), "-o", str(tmp_path))
    assert (result.returncode, names_in(tmp_path)) == (2, ["models"])
    assert f"holds 2 models: {', '.join(models)}." in result.stderr
    assert f"localmme pack {directory}{pattern.format(tmp=tmp_path)} -o DIR/. For one archive" in result.stderr
    localmme("pack", str(directory), "-o", str(tmp_path), "--as-one", check=True)
    assert snapshot(extracted(tmp_path / "models.tar.gz", tmp_path / "out")) == snapshot(directory)


@pytest.mark.parametrize(
    "files",
    [
        {"a.pkl": PICKLE, "b.pkl": PICKLE, "code/inference.py": HANDLER},
        {"a.pkl": PICKLE, "b.pkl": PICKLE, "serve.py": HANDLER},
        {"1/model.onnx": "1", "2/model.onnx": "1"},
        {"config.pbtxt": "", "1/model.onnx": "1"},
        {"saved_model.pb": "", "a.pkl": PICKLE, "b.pkl": PICKLE},
        {"a/weights": "", "b/weights": ""},
        {"a.pkl": PICKLE, ".b.pkl": PICKLE},
        {"a.pkl": PICKLE, "data.csv": "1"},
    ],
)
def test_a_directory_that_is_one_model_is_not_asked_about(tmp_path, files):
    assert models_in(tree(tmp_path / "model", files)) == []


@pytest.mark.parametrize("answer, archives", [("y\n", ["a.tar.gz", "b.tar.gz"]), ("n\n", ["models.tar.gz"])])
def test_a_person_is_asked_about_a_directory_with_many_models(tmp_path, monkeypatch, answer, archives):
    directory = tree(tmp_path / "models", {"a.pkl": PICKLE, "b.pkl": PICKLE})
    monkeypatch.setattr(command, "_is_asked", lambda: True)
    (tmp_path / "s3").mkdir()
    result = localmme("pack", str(directory), "-o", str(tmp_path / "s3"), input=answer, check=True)
    assert (
        "holds 2 models: a.pkl, b.pkl. Make an archive of each? (no: one archive of all of it) [Y/n]" in result.stderr
    )
    assert names_in(tmp_path / "s3") == archives


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["{tmp}/a/m.pkl", "{tmp}/b/m.pkl"], "a/m.pkl and {tmp}/b/m.pkl would both become m.tar.gz"),
        (["{tmp}/a", "{tmp}/b", "-o", "{tmp}/s3/x.tar.gz"], "for several models. Name a directory: -o {tmp}/s3/"),
        (["{tmp}/a", "{tmp}/b", "-o", "{tmp}/none/"], "There is no directory {tmp}/none. Make it: mkdir -p"),
        (["{tmp}/a", "{tmp}/missing", "-o", "{tmp}/s3"], "There is no file or directory {tmp}/missing."),
        (["{tmp}/a", "{tmp}/é", "-o", "{tmp}/s3"], "é.tar.gz cannot be a TargetModel"),
        (["{tmp}/a", "-o", "{tmp}/s3/ü b.tar.gz"], "Name it -o {tmp}/s3/b.tar.gz"),
        (["{tmp}/a", "-o", "{tmp}/s3/.hidden.tar.gz"], "Name it -o {tmp}/s3/hidden.tar.gz"),
        (["{tmp}/a", "-o", "{tmp}/s3/" + "x" * 250 + ".tar.gz"], "has at most 255 characters"),
    ],
)  # fmt: skip
def test_nothing_is_written_when_one_of_several_cannot_be(tmp_path, arguments, words):
    tree(tmp_path, {"a/m.pkl": PICKLE, "b/m.pkl": PICKLE, "é/m.pkl": PICKLE, "s3/": ""})
    before = snapshot(tmp_path)
    result = localmme("pack", *(argument.format(tmp=tmp_path) for argument in arguments))
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert words.format(tmp=tmp_path) in result.stderr
    assert snapshot(tmp_path) == before
