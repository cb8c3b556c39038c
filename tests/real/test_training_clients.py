"""From fit() to a prediction of one model among many, by AWS's own client, without Docker."""

from __future__ import annotations

from pathlib import Path

import pytest

from localmme.aws_environment import emulator_environment
from tests.support.emulator_in_process import in_process_emulators
from tests.support.real_clients import sdks
from tests.support.real_servers.making import NotProvisioned

pytestmark = pytest.mark.real

SCRIPT = """
import argparse, json, os

def model_fn(model_dir):
    return json.load(open(os.path.join(model_dir, "model.json")))

def predict_fn(data, model):
    return data * model

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=int)
    parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
    arguments = parser.parse_args()
    json.dump(arguments.scale, open(os.path.join(os.environ["SM_MODEL_DIR"], "model.json"), "w"))
    print("trains with", *os.listdir(arguments.train))
    print("loss=0.25;")
"""


def test_an_estimator_of_sdk_2_trains_a_script_and_its_model_is_served_among_others(tmp_path: Path) -> None:
    for name, text in {"train.py": SCRIPT, "a.csv": "1,2"}.items():
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / name).write_text(text)
    (tmp_path / "s3").mkdir()
    mapping = "*/sagemaker-scikit-learn:*=script"
    with in_process_emulators(tmp_path) as start:
        emulator = start("--no-endpoint", "--s3", str(tmp_path / "s3"), "--map-image", mapping).wait_ready()
        environment = {
            **emulator_environment(emulator.url, "us-east-1"),
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
        }
        try:
            saw = sdks.run(sdks.sdk_2(), "sdk_2_training.py", str(tmp_path / "code"), environment=environment)
        except NotProvisioned as reason:
            pytest.skip(str(reason))
    assert (saw["status"], saw["metrics"]) == ("Completed", {"loss": 0.25})
    assert "trains with a.csv" in saw["log"] and "train.py --scale 3" in saw["log"]
    assert saw["models"] == ["first.tar.gz"] and saw["prediction"] == [[3.0, 6.0]]
