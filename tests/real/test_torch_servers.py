"""AWS's containers for PyTorch (TorchServe) and Hugging Face (Multi Model Server), their real toolkits and servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.command_line import localmme
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.real_servers import huggingface, torch_models, torchserve
from tests.support.real_servers.making import NotProvisioned
from tests.support.real_servers.served import served

pytestmark = pytest.mark.real

SECONDS_TO_ANSWER = 240
PATIENT = ("--limit", f"invocation_seconds={SECONDS_TO_ANSWER}")
# As users of the Hugging Face toolkit write it: the rest of the handler is the toolkit's. JSON is a dictionary.
HANDLER = """
def predict_fn(data, model):
    return {"said": model(data.pop("inputs")), "by": type(model).__name__}
"""


@pytest.fixture(scope="module")
def models() -> Path:
    """Directories of models, by their names."""
    try:
        return torch_models.directories()
    except NotProvisioned as reason:
        pytest.skip(str(reason))


def ask(emulator: InProcessEmulator, target_model: str, body: Any, content_type: str = "application/json") -> Any:
    """What a model answers to JSON, or to bytes of another type."""
    # Its process may have to import PyTorch and Transformers on a busy machine.
    client = emulator.client(read_timeout=SECONDS_TO_ANSWER)
    answer = client.invoke_endpoint(
        EndpointName="local",
        TargetModel=target_model,
        ContentType=content_type,
        Body=body if isinstance(body, bytes) else json.dumps(body),
    )
    return json.load(answer["Body"])


def test_torchserve_loads_evicts_and_loads_again(models: Path, tmp_path: Path) -> None:
    for name in ("double", "triple"):
        torch_models.packed(name, tmp_path / "s3" / f"{name}.tar.gz")
    with served(torchserve, tmp_path / "s3", tmp_path, 1, *PATIENT, "--env", "TS_ENABLE_MODEL_API=true") as emulator:
        for name, times in (("double", 2), ("triple", 3), ("double", 2)):
            answer = ask(emulator, f"{name}.tar.gz", [[1.0, 2.5]])
            assert answer == [[1.0 * times, 2.5 * times]]
        double = emulator.model("double.tar.gz")
        assert (double["loads"], double["downloads"]) == (2, 1)
        assert emulator.in_memory() == {"double.tar.gz"}


def test_the_hugging_face_toolkit_runs_pipelines_and_handlers(models: Path, tmp_path: Path) -> None:
    # As few loads as show it: each takes nine seconds of processor time to import PyTorch and Transformers.
    torch_models.packed("bert", tmp_path / "s3" / "bert.tar.gz", {"code/inference.py": HANDLER.encode()})
    packed = localmme("pack", str(models / "bert"), "-o", str(tmp_path / "s3" / "packed.tar.gz"), check=True)
    assert "BertForSequenceClassification of Hugging Face, for the task text-classification" in packed.stdout
    options = (*PATIENT, "--env", "HF_TASK=text-classification")
    with served(huggingface, tmp_path / "s3", tmp_path, 1, *options) as emulator:
        answer = ask(emulator, "bert.tar.gz", {"inputs": ["fine", "fine fine"]})
        assert answer["by"] == "TextClassificationPipeline"
        [label, _] = answer["said"]
        assert label["label"] == "POSITIVE" and label["score"] == pytest.approx(0.9)
        with pytest.raises(ClientError) as refused:
            ask(emulator, "bert.tar.gz", {})
        assert refused.value.response["OriginalStatusCode"] == 400
        assert "inputs" in refused.value.response["OriginalMessage"]
        # The handler that pack writes, in the same container.
        assert ask(emulator, "packed.tar.gz", {"inputs": ["fine", "fine fine"]}) == answer["said"]
        every = ask(emulator, "packed.tar.gz", {"inputs": "fine", "parameters": {"top_k": None}})
        assert [label["label"] for label in every] == ["POSITIVE", "NEGATIVE"]
        assert ask(emulator, "packed.tar.gz", b"inputs\nfine\nfine fine\n", "text/csv") == answer["said"]
        assert emulator.in_memory() == {"packed.tar.gz"}
        assert ask(emulator, "bert.tar.gz", {"inputs": ["fine", "fine fine"]}) == answer
        bert = emulator.model("bert.tar.gz")
        assert (bert["loads"], bert["downloads"]) == (2, 1)
