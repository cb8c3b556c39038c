"""The emulator's variables in the environment of the notebook's own process, and how they are taken back."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from localmme.exported_variables import Exported


class ExportedVariables:
    """Sets variables in the environment of this process, and restores them later."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._exported = Exported.to(os.environ, variables)
        path = variables.get("PYTHONPATH", "").split(os.pathsep)
        self._path = [directory for directory in path if directory and directory not in sys.path]
        os.environ.update(variables)
        sys.path += self._path  # PYTHONPATH has no effect on a running process
        self._default_session = getattr(sys.modules.get("boto3"), "DEFAULT_SESSION", None)

    def take_back(self) -> None:
        """Restore the previous values, except of variables that the notebook has changed since."""
        for name, value in self._exported.taken_back(os.environ).items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        sys.path[:] = [directory for directory in sys.path if directory not in self._path]
        if "boto3" in sys.modules:  # a default session created meanwhile has the placeholder credentials
            sys.modules["boto3"].DEFAULT_SESSION = self._default_session  # type: ignore[attr-defined]
