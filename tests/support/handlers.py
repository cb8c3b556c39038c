"""Models of the text of their handlers, loaded and invoked in the test's own process as in a worker."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.model_server.handlers import styles
from emulator.model_server.handlers.packages import explain
from emulator.model_server.handlers.service import Service, as_chunk
from emulator.model_server.http.response import HandlerError

JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"

IDENTITY = """
def model_fn(model_dir):
    return lambda data: data
"""


@dataclass
class Answer:
    """What a caller gets; a stream's pieces are put together."""

    status: int
    phrase: str | None
    headers: dict[str, str]
    body: bytes
    streamed: bool

    def json(self) -> Any:
        return json.loads(self.body)


class Model:
    """A model that is loaded."""

    def __init__(self, name: str, directory: Path, service: Service) -> None:
        self.name, self.directory = name, directory
        self._service = service
        self._requests = itertools.count(1)

    def ask(
        self,
        body: bytes = b"",
        content_type: str = CSV,
        accept: str | None = None,
        query: str = "",
        attributes: str | None = None,
    ) -> Answer:
        """The answer to one invocation; ``attributes`` are its custom ones."""
        optional = {"Accept": accept, "X-Amzn-SageMaker-Custom-Attributes": attributes}
        headers = [
            ("Content-Type", content_type),
            *((name, text) for name, text in optional.items() if text is not None),
        ]
        response = self._service.invoke(bytearray(body), f"request-{next(self._requests)}", query, headers)
        streamed = isinstance(response.body, Iterator)
        pieces: Any = response.body if streamed else [response.body]
        content = b"".join(map(as_chunk, pieces))
        self._service.finish()
        return Answer(response.status, response.phrase, dict(response.headers), content, streamed)


class Models:
    """Makes models of the text of their handlers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers = itertools.count()

    def write(self, **files: str) -> Path:
        """A model's directory with these files, by their stem."""
        directory = self.directory / f"model-{next(self._numbers)}"
        directory.mkdir()
        for stem, text in files.items():
            path = directory / (stem.replace("__", "/") + ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return directory

    def __call__(self, inference: str, handler: str | None = None, **files: str) -> Model:
        """A model with this inference.py, loaded."""
        return self.loaded(self.write(inference=inference, **files), handler)

    def loaded(self, directory: Path, handler: str | None = None) -> Model:
        """The model of a directory, loaded with its own handler, or with this one."""
        return Model(directory.name, directory, styles.load(directory.name, str(directory), handler, None))

    def refusal(self, inference: str | None = None, **files: str) -> str:
        """Why a model with this inference.py cannot be loaded, as a worker says it."""
        if inference is not None:
            files["inference"] = inference
        try:
            self.loaded(self.write(**files))
        except HandlerError as error:
            return str(error)
        except Exception as error:
            return explain(error)
        raise AssertionError("it was loaded")
