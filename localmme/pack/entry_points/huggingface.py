"""Serves a Hugging Face model with the pipeline of its task: JSON or CSV as in Hugging Face's container, JSON out."""

import csv
import json
import os

import torch
from transformers import pipeline

TASK = "text-classification"


def model_fn(model_dir):
    """Load the model, once for each worker."""
    task = os.environ.get("HF_TASK", TASK)
    return pipeline(task, model=model_dir, device=0 if torch.cuda.is_available() else -1)


def input_fn(body, content_type):
    """JSON: {"inputs": ..., "parameters": {...}}. CSV with a header: inputs, or the names that the pipeline takes."""
    text = body if isinstance(body, str) else bytes(body).decode()
    if content_type.startswith("text/csv"):
        rows = list(csv.DictReader(text.splitlines()))
        return {"inputs": [row["inputs"] for row in rows] if rows and "inputs" in rows[0] else rows}
    if content_type.startswith("application/json"):
        data = json.loads(text)
        return data if isinstance(data, dict) else {"inputs": data}
    raise ValueError(f"Send application/json or text/csv, not {content_type}.")


def predict_fn(data, model):
    """What the pipeline makes of the inputs; without "inputs", of the whole object."""
    parameters = data.pop("parameters", None) or {}
    inputs = data.get("inputs", data)
    return model(inputs, **parameters)


def output_fn(prediction, accept):
    """JSON, whatever the caller accepts. Hugging Face's container takes no content type beside it."""
    return json.dumps(prediction, default=lambda value: value.tolist())
