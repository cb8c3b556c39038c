"""Hugging Face models: a directory with config.json and weights, and the task of the pipeline that serves it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from localmme.pack.model import Model

_CONFIGURATION = "config.json"
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
# What the names of architectures end with -> the task; the same as in Hugging Face's container, and newer ones.
_TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
    "MTModel": "translation",
    "ForImageClassification": "image-classification",
    "ForObjectDetection": "object-detection",
    "ForAudioClassification": "audio-classification",
    "ForSpeechSeq2Seq": "automatic-speech-recognition",
    "ForCTC": "automatic-speech-recognition",
}
_OTHER_TASKS = ("feature-extraction", "summarization", "zero-shot-classification")
_CARD = re.compile(r"---\s*\n(.*?)\n---\s*(\n|$)", re.DOTALL)  # the front matter of README.md


def is_model(directory: Path) -> bool:
    """Whether a directory has a model of Transformers with PyTorch's weights."""
    return bool(_configuration(directory)) and any(any(directory.glob(pattern)) for pattern in _WEIGHTS)


def model_of(directory: Path, task: str | None) -> Model | None:
    """The model in a directory, for this task or the one that its files name; None if they name none."""
    architectures = _configuration(directory).get("architectures")
    names = [str(name) for name in architectures] if isinstance(architectures, list) else []
    by_name = next((task for name in names for end, task in _TASKS.items() if name.endswith(end)), None)
    found = task or _task_of_card(directory) or by_name
    if found is None:
        return None
    description = f"{_CONFIGURATION}: {', '.join(names) or 'a model'} of Hugging Face, for the task {found}"
    return Model("huggingface", description, ("torch", "transformers"), {"TASK": found})


def _configuration(directory: Path) -> dict[str, Any]:
    """The configuration; empty where it is not that of a model of Transformers."""
    try:
        loaded = json.loads((directory / _CONFIGURATION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) and ("architectures" in loaded or "model_type" in loaded) else {}


def _task_of_card(directory: Path) -> str | None:
    """The task that the model's card names, if it is one that pipelines have."""
    try:
        found = _CARD.match((directory / "README.md").read_text(encoding="utf-8"))
        card = yaml.safe_load(found[1]) if found else None
    except (OSError, ValueError, yaml.YAMLError):
        return None
    task = card.get("pipeline_tag") if isinstance(card, dict) else None
    return task if task in {*_TASKS.values(), *_OTHER_TASKS} else None
