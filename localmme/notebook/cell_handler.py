"""``%%localmme handler``: a cell becomes the file of a handler, if it is Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from localmme.notebook import files

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

# The cell's own first line may name another encoding; Python takes that of the file's first line.
FIRST_LINE = "# Written by %%localmme handler (coding: utf-8): its lines have the numbers that they have in the cell.\n"


class CellSyntaxError(Exception):
    """A cell is not Python. IPython shows it as a syntax error in a cell of its own."""

    def __init__(self, shell: InteractiveShell, error: SyntaxError) -> None:
        super().__init__(str(error))
        self._shell, self._error = shell, error

    def _render_traceback_(self) -> list[str]:
        shown: list[str] = self._shell.SyntaxTB.structured_traceback(type(self._error), self._error, None)
        return shown


def write(shell: InteractiveShell, cell: str, path: Path) -> None:
    """Write the cell to the file. Raises CellSyntaxError or SetupError; the file is as it was then."""
    source = FIRST_LINE + cell
    try:
        # dont_inherit: neither this module's __future__ imports nor the notebook's are the handler's.
        compile(source, shell.compile.cache(source, shell.execution_count), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise CellSyntaxError(shell, error) from None
    files.write(path, source)
