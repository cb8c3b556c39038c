"""Serves an XGBoost model: rows of numbers as CSV or JSON in, predictions as JSON or CSV out."""

import csv
import io
import json
import os

import numpy as np
import xgboost

MODEL = "model.ubj"


def model_fn(model_dir):
    """Load the model, once for each worker."""
    model = xgboost.Booster()
    model.load_model(os.path.join(model_dir, MODEL))
    return model


def input_fn(body, content_type):
    """Rows of numbers: CSV without a header, a JSON list of rows, or {"instances": rows}. Empty or null: missing."""
    text = body if isinstance(body, str) else bytes(body).decode()
    if content_type.startswith("text/csv"):
        rows = [[float(cell.strip() or "nan") for cell in row] for row in csv.reader(text.splitlines()) if row]
    elif content_type.startswith("application/json"):
        rows = json.loads(text)
        rows = rows["instances"] if isinstance(rows, dict) else rows
    else:
        raise ValueError(f"Send text/csv or application/json, not {content_type}.")
    return np.atleast_2d(np.array(rows, dtype=float))


def predict_fn(data, model):
    """The booster's prediction for each row: of a classifier, probabilities."""
    return model.predict(xgboost.DMatrix(data, feature_names=model.feature_names))


def output_fn(prediction, accept):
    """CSV, a line for each row, where the caller accepts it; else a JSON list."""
    rows = np.asarray(prediction).tolist()
    if accept.startswith("text/csv"):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(row if isinstance(row, list) else [row] for row in rows)
        return text.getvalue(), "text/csv"
    return json.dumps(rows), "application/json"
