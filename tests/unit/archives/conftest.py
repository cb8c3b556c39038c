"""Where archives are extracted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tar_archives import Volume


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path)
