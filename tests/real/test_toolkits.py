"""``--toolkit NAME`` beside the code of AWS's containers: the same models and requests through both, in one process.

What is compared is what a caller sees: status, content type and body, byte for byte. Of a traceback in a body, only the
handler's own frames and the exception are: the others are of the code that calls the handler.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.real_servers import provision, torch_models
from tests.support.real_servers.making import NotProvisioned
from tests.support.repository import REPOSITORY
from tests.support.toolkit_tables import JSON, TABLES, Model, Request

pytestmark = pytest.mark.real

SCRIPT = Path(provision.__file__).with_name("inside") / "toolkit_outcomes.py"
IN_TORCH = ("pytorch", "huggingface")
Outcomes = list[dict[str, Any]]


def run(
    python: Path, table: list[tuple[str, Model]], scratch: Path, *packages: Path
) -> Iterator[tuple[Outcomes, Outcomes]]:
    """What callers get of each model: by the containers' code, and by localmme's own server."""
    models, outcomes = scratch / "models.json", scratch / "outcomes.json"
    models.write_text(json.dumps([model.as_json(toolkit) for toolkit, model in table]))
    done = subprocess.run(
        [str(python), str(SCRIPT), str(models), str(outcomes)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, *packages)))},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    for both in json.loads(outcomes.read_text()):
        yield [as_compared(one) for one in both["theirs"]], [as_compared(one) for one in both["ours"]]


def as_compared(outcome: dict[str, Any]) -> dict[str, Any]:
    """An outcome without what differs from run to run, and without the frames of what called the handler."""
    if "load" in outcome:
        return outcome
    body = base64.b64decode(outcome["body"])
    if outcome["status"] >= 400:
        text = re.sub(r"/\w+/tmp\w+/model-\d+", "MODEL", body.decode())
        text = re.sub(r"0x[0-9a-f]{8,}", "ADDRESS", text)
        # What the last exception came after.
        text = re.sub(
            r"(?s)Traceback \(most recent call last\):\n.*\n(?:During handling|The above)[^\n]*\n\n", "", text
        )
        text = re.sub(r'  File "(?!MODEL)[^\n]*\n(?:    [^\n]*\n)*', "", text)
        text = text.replace("Traceback (most recent call last):\n", "")
        body = re.sub(r"(?m)^[\w.]+\.(\w+(?:Error|Exception))", r"\1", text).encode()
    else:
        body = re.sub(rb"/\w+/tmp\w+/model-\d+", b"MODEL", body)
    return {**outcome, "body": body}


def check(table: list[tuple[str, Model]], outcomes: Iterator[tuple[Outcomes, Outcomes]]) -> None:
    """Check that both answer alike, except where a model says that they differ."""
    wrong = [
        f"{toolkit}: {model.title}: {model.requests}\ntheirs {theirs}\nours   {ours}"
        for (toolkit, model), (theirs, ours) in zip(table, outcomes, strict=True)
        if (theirs == ours) is model.differs
    ]
    assert not wrong, "\n\n".join(wrong)


def test_the_toolkits_answer_as_their_containers_do(tmp_path: Path) -> None:
    try:
        python, encoders = provision.mms().python, provision.encoders()
        assert encoders.python
    except NotProvisioned as reason:
        pytest.skip(str(reason))
    table = [(name, model) for name in TABLES if name not in IN_TORCH for model in TABLES[name]]
    check(table, run(python, table, tmp_path, encoders.packages))


def test_pytorch_and_hugging_face_answer_as_their_containers_do(tmp_path: Path) -> None:
    """Both at once, as PyTorch and transformers take seconds to import."""
    try:
        python, directories = provision.torch().python, torch_models.directories()
    except NotProvisioned as reason:
        pytest.skip(str(reason))
    double, bert = (files_of(directories / name) for name in ("double", "bert"))
    texts = (
        b'{"inputs": "fine"}',
        b'{"inputs": ["fine", "fine"]}',
        b"{}",
        b'"fine"',
        b'{"inputs": "fine", "parameters": {"top_k": 2}}',
    )
    table = [
        *((name, model) for name in IN_TORCH for model in TABLES[name]),
        ("pytorch", Model("TorchScript", requests=(Request(), Request(b"[1, 2.5]")), files=double)),
        ("huggingface", Model("a pipeline", requests=tuple(Request(body, JSON) for body in texts), files=bert)),
    ]
    check(table, run(python, table, tmp_path))


def files_of(directory: Path) -> dict[str, bytes]:
    """The files of a model by name."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_each_table_has_many_pairs() -> None:
    for name, table in TABLES.items():
        assert sum(len(model.requests) for model in table) >= 40, name
