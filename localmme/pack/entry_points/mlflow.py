"""Serves an MLflow model: the JSON and CSV that MLflow's own server takes in, {"predictions": ...} or CSV out."""

import io
import json

import mlflow.pyfunc
import numpy as np
import pandas


def model_fn(model_dir):
    """Load the model, once for each worker."""
    return mlflow.pyfunc.load_model(model_dir)


def input_fn(body, content_type):
    """CSV as text; JSON as an object with dataframe_split, dataframe_records, inputs or instances, or only the rows."""
    text = body if isinstance(body, str) else bytes(body).decode()
    if content_type.startswith("text/csv"):
        return text
    if not content_type.startswith("application/json"):
        raise ValueError(f"Send text/csv or application/json, not {content_type}.")
    data = json.loads(text)
    return data if isinstance(data, dict) else {"instances": data}


def predict_fn(data, model):
    """The predictions for a table, if the model's signature has columns, else for arrays."""
    schema = model.metadata.get_input_schema()
    if schema is None or schema.is_tensor_spec():
        return model.predict(_arrays(data, schema))
    names = schema.input_names() if schema.has_input_names() else None
    table = _table(data, names)
    for name, kind in zip(names or table.columns, schema.pandas_types()):
        if name in table:  # a column may be optional
            table[name] = table[name].astype(kind)
    return model.predict(table)


def output_fn(prediction, accept):
    """CSV, a line for each row, where the caller accepts it; else JSON as MLflow's own server gives it."""
    is_table = isinstance(prediction, pandas.DataFrame)
    if accept.startswith("text/csv"):
        return pandas.DataFrame(prediction).to_csv(index=False, header=is_table), "text/csv"
    values = prediction.to_dict(orient="records") if is_table else prediction
    return json.dumps({"predictions": values}, default=_plain), "application/json"


def _table(data, names):
    if isinstance(data, str):
        first = [cell.strip() for cell in data.partition("\n")[0].split(",")]
        has_header = names is None or set(first) & set(names)
        return pandas.read_csv(io.StringIO(data), header=0 if has_header else None, names=None if has_header else names)
    if "dataframe_split" in data:
        return pandas.DataFrame(**data["dataframe_split"])
    rows = data.get("dataframe_records", data.get("instances", data.get("inputs", data)))
    has_names = isinstance(rows, dict) or isinstance(rows[0], dict)
    return pandas.DataFrame(rows, columns=None if has_names else names)


def _arrays(data, schema):
    kinds = dict(zip(schema.input_names(), schema.numpy_types())) if schema and schema.has_input_names() else {}
    only = schema.numpy_types()[0] if schema else None
    if isinstance(data, str):
        return pandas.read_csv(io.StringIO(data), header=None).to_numpy(dtype=only)
    if "dataframe_split" in data or "dataframe_records" in data:
        return _table(data, None)
    values = data.get("inputs", data.get("instances", data))
    if isinstance(values, dict):
        return {name: np.array(value, dtype=kinds.get(name)) for name, value in values.items()}
    return np.array(values, dtype=only)


def _plain(value):
    return value.tolist() if hasattr(value, "tolist") else str(value)
