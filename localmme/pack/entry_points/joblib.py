"""Serves a model of joblib or pickle, such as scikit-learn's: CSV or JSON in, predictions as JSON or CSV out.

A model that was trained on a table with named columns is called with such a table, for which pandas is needed.
"""

import csv
import io
import json
import os

import joblib
import numpy as np

MODEL = "model.joblib"


def model_fn(model_dir):
    """Load the model, once for each worker."""
    return joblib.load(os.path.join(model_dir, MODEL))


def input_fn(body, content_type):
    """Rows of CSV without a header; or a JSON list of rows, of objects or of texts, or {"instances": such a list}."""
    text = body if isinstance(body, str) else bytes(body).decode()
    if content_type.startswith("text/csv"):
        return [[_value(cell) for cell in row] for row in csv.reader(text.splitlines()) if row]
    if not content_type.startswith("application/json"):
        raise ValueError(f"Send text/csv or application/json, not {content_type}.")
    rows = json.loads(text)
    if isinstance(rows, dict):
        rows = rows.get("instances", [rows])
    return rows if isinstance(rows[0], (list, dict, str)) else [rows]


def predict_fn(data, model):
    """The prediction for each row."""
    names = getattr(model, "feature_names_in_", None)
    if names is not None or isinstance(data[0], dict):
        import pandas

        return model.predict(pandas.DataFrame(data, columns=names))
    has_texts = any(isinstance(value, str) for row in data for value in row)
    return model.predict(np.array(data, dtype=object if has_texts else float))


def output_fn(prediction, accept):
    """CSV, a line for each row, where the caller accepts it; else a JSON list."""
    rows = np.asarray(prediction).tolist()
    if accept.startswith("text/csv"):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(row if isinstance(row, list) else [row] for row in rows)
        return text.getvalue(), "text/csv"
    return json.dumps(rows), "application/json"


def _value(cell):
    """A cell of CSV: a number where it is one; None where it is empty."""
    try:
        return float(cell) if cell.strip() else None
    except ValueError:
        return cell
