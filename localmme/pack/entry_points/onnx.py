"""Serves an ONNX model: CSV or JSON in, the model's outputs as JSON or CSV out."""

import csv
import io
import json
import os

import numpy as np
import onnxruntime

MODEL = "model.onnx"


def model_fn(model_dir):
    """Load the model, once for each worker."""
    return onnxruntime.InferenceSession(os.path.join(model_dir, MODEL), providers=onnxruntime.get_available_providers())


def input_fn(body, content_type):
    """The only input, as CSV without a header or as a JSON list; or a JSON object with a list for each input's name."""
    text = body if isinstance(body, str) else bytes(body).decode()
    if content_type.startswith("text/csv"):
        return [[_value(cell) for cell in row] for row in csv.reader(text.splitlines()) if row]
    if not content_type.startswith("application/json"):
        raise ValueError(f"Send text/csv or application/json, not {content_type}.")
    return json.loads(text)


def predict_fn(data, model):
    """The outputs by their names."""
    inputs = model.get_inputs()
    if not isinstance(data, dict):
        data = {inputs[0].name: data}
    missing = [node.name for node in inputs if node.name not in data]
    if missing:
        raise ValueError(f"The model's inputs are {[node.name for node in inputs]}; there is no value for {missing}.")
    outputs = model.run(None, {node.name: _array(data[node.name], node) for node in inputs})
    return {node.name: output for node, output in zip(model.get_outputs(), outputs)}


def output_fn(prediction, accept):
    """CSV of the first output, where the caller accepts it; else the only output as JSON, or an object of all."""
    values = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in prediction.items()}
    first = next(iter(values.values()))
    if accept.startswith("text/csv"):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(row if isinstance(row, list) else [row] for row in first)
        return text.getvalue(), "text/csv"
    return json.dumps(first if len(values) == 1 else values), "application/json"


def _array(values, node):
    """An array of the type and with the dimensions that an input has; a single row may lack the first dimension."""
    kind = node.type[len("tensor(") : -1]
    array = np.array(values, dtype={"float": "float32", "double": "float64", "string": "object"}.get(kind, kind))
    if array.ndim == len(node.shape) - 1:
        known = all(isinstance(size, int) for size in node.shape[1:])
        array = array.reshape(-1, *node.shape[1:]) if known else array[np.newaxis]
    return array


def _value(cell):
    """A cell of CSV: a number where it is one; None where it is empty."""
    try:
        return float(cell) if cell.strip() else None
    except ValueError:
        return cell
