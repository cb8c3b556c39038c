"""What the emulator takes of this machine before it serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.errors import SetupError
from localmme import server_setup


def test_the_directory_of_s3_is_made_where_it_is_the_usual_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("./s3", "s3", str(tmp_path / "s3")):
        assert server_setup._s3_directory(name) == tmp_path / "s3"
        (tmp_path / "s3").rmdir()
    with pytest.raises(SetupError, match="There is no directory ./s4"):
        server_setup._s3_directory("./s4")
