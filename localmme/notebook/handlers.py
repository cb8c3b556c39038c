"""The notebook's handlers as files: the cell's, and those that functions of the notebook are."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from emulator.errors import SetupError
from localmme.notebook import cell_handler
from localmme.notebook.files import PrivateFiles, write
from localmme.notebook.function_handler import FunctionHandler, handler_of

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


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

    def to_pack(self, name: str) -> Path:
        """The file of a function's handler, for an archive: it needs no values of the notebook. Raises SetupError."""
        handler = handler_of(name, self._shell.user_ns, with_notebook=False)
        path = self._files.path(f"packed-{name}", "inference.py")
        write(path, handler.text)
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
        if handler and isinstance(variables.get(name), FunctionType) and not handler.is_current(variables):
            seen = {each: variables.get(each) for each in handler.uses}
            self._functions[path] = name, replace(handler, uses=seen)  # if it fails, that is said once
            self.of_function(name)

    def of_model(self, name: str, model: Any) -> Path:
        """A file with a fitted model, as joblib or pickle write it. Raises SetupError."""
        if type(model).__module__ == "__main__":
            raise SetupError(
                f"${name} is of the notebook's own class {type(model).__name__}, which no archive would have. "
                "Write the class into a file, import it from there, and put that file into the archive's code/."
            )
        try:
            try:
                import joblib
            except ImportError:
                path = self._files.path("models", f"{name}.pkl")
                path.write_bytes(pickle.dumps(model))
            else:
                path = self._files.path("models", f"{name}.joblib")
                joblib.dump(model, path)
        except Exception as error:
            raise SetupError(f"${name} cannot be written to a file: {type(error).__name__}: {error}.") from None
        return path

    def discard(self) -> None:
        """Remove the notebook's own files."""
        self._files.discard()
        self._cells.clear()
        self._functions.clear()
        self.current = None
