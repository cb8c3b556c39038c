"""The notebook's handlers as files: the cell's, and those that functions of the notebook are."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.errors import SetupError
from localmme.notebook import cell_handler
from localmme.notebook.files import PrivateFiles, write
from localmme.notebook.function_handler import FunctionHandler, beside_the_notebook, handler_of, is_function

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


MODEL_FN = """

def model_fn(model_dir):
    import {library}

    with open(f"{{model_dir}}/{file}", "rb") as file:
        return {library}.load(file)
"""


class Handlers:
    """What the notebook has written. Its own files outlive each emulator, and are removed with the kernel."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell, self._files = shell, PrivateFiles()
        self._cells: set[Path] = set()
        self._functions: dict[Path, tuple[str, FunctionHandler]] = {}
        self.current: Path | None = None
        """The file of the last cell, which is served if nothing else is named."""

    def __contains__(self, path: Path) -> bool:
        """Whether the notebook has written that file."""
        return path in self._cells or path in self._functions

    def write_cell(self, cell: str, file: str | None) -> Path:
        """Write a cell to a file; None = to one of the notebook's own. Raises CellSyntaxError or SetupError."""
        if file is not None and not file.endswith(".py"):
            raise SetupError(f"A handler's file is a Python file, such as handler.py, not {file}.")
        path = Path(file).expanduser().absolute() if file else self._files.path("cell", "handler.py")
        cell_handler.write(self._shell, cell, path)
        self._cells.add(path)
        self.current = path
        return path

    def to_pack(self, name: str, models: Sequence[str]) -> Path:
        """The file of a function's handler, for an archive: it needs no values of the notebook.

        ``models`` are the notebook's models that are packed. Says what else of the notebook is in the handler, or would
        be lacking. Raises SetupError.
        """
        handler = handler_of(name, self._shell.user_ns, with_notebook=False)
        text = handler.text
        if handler.lacks_model_fn:
            if len(models) != 1:
                raise SetupError(
                    f"{name} takes a model, and nothing would load it: the notebook has no function model_fn. "
                    f"Define it, or pack one model of the notebook: %localmme pack $model --handler ${name}"
                )
            text += MODEL_FN.format(library=_library(), file=_file_of(models[0]))
        if handler.literals:
            print(f"The archive's code/inference.py has the values of {', '.join(handler.literals)}.")
        if modules := beside_the_notebook(text):
            print(
                f"Warning: {name} imports {', '.join(modules)} from beside the notebook. It works only where the "
                "archive's code/ or the image has that, too.",
                file=sys.stderr,
            )
        path = self._files.path(f"packed-{name}", "inference.py")
        write(path, text)
        return path

    def of_function(self, name: str) -> Path:
        """The file of the handler that the notebook's function of that name is. Raises SetupError."""
        handler = handler_of(name, self._shell.user_ns)
        path = self._files.path(f"function-{name}", "handler.py")
        if handler.values_file:
            write(path.with_name(handler.values_file), handler.values)
        write(path, handler.text)
        for old in path.parent.glob("values-*"):
            if old.name != handler.values_file:
                old.unlink()
        self._functions[path] = name, handler
        return path

    def renew(self, path: Path) -> None:
        """Write the file of a function again if the notebook has changed what it is made of. Raises SetupError."""
        name, handler = self._functions.get(path, ("", None))
        variables = self._shell.user_ns
        if handler and not handler.is_current(variables):
            seen = {each: variables.get(each) for each in handler.uses}
            self._functions[path] = name, replace(handler, uses=seen)  # if it fails, that is said once
            if not is_function(variables.get(name)):
                raise SetupError(f"{name} is no function now. To serve another one: %localmme serve --handler $NAME")
            self.of_function(name)

    def of_model(self, name: str, model: Any) -> Path:
        """A file with a fitted model, as joblib or pickle write it. Raises SetupError."""
        if type(model).__module__ == "__main__":
            raise SetupError(
                f"${name} is of the notebook's own class {type(model).__name__}, which no archive would have. "
                "Write the class into a file, import it from there, and put that file into the archive's code/."
            )
        try:
            path = self._files.path("models", _file_of(name))
            with path.open("wb") as file:
                importlib.import_module(_library()).dump(model, file)
        except Exception as error:
            raise SetupError(f"${name} cannot be written to a file: {type(error).__name__}: {error}.") from None
        return path

    def discard(self) -> None:
        """Remove the notebook's own files."""
        self._files.discard()
        self._cells.clear()
        self._functions.clear()
        self.current = None


def _library() -> str:
    """What writes and reads the notebook's models."""
    return "joblib" if find_spec("joblib") else "pickle"


def _file_of(model: str) -> str:
    """The name of the file of the notebook's model of that name."""
    return f"{model}.joblib" if _library() == "joblib" else f"{model}.pkl"
