"""Which of a handler's files have changed."""

from __future__ import annotations

import os
from pathlib import Path

from emulator.model_server.workers.sources import Sources


def test_each_change_of_each_python_file_and_of_requirements_is_seen(tmp_path: Path) -> None:
    handler, package = tmp_path / "handler.py", tmp_path / "package" / "part.py"
    package.parent.mkdir()
    for file in (handler, package, tmp_path / "data.txt"):
        file.write_text("1")
    sources = Sources(str(tmp_path))
    sources.add([str(package), str(tmp_path / "gone.py")])
    assert sources.changed() == []
    (tmp_path / "data.txt").write_text("22")
    assert sources.changed() == []
    handler.write_text("22")  # another size
    assert sources.changed() == [str(handler)]
    os.utime(package, ns=(0, 7))  # another time
    sibling = tmp_path / "new.py"
    sibling.touch()
    assert sources.changed() == [str(handler), str(sibling), str(package)]
    (tmp_path / "requirements.txt").touch()
    assert str(tmp_path / "requirements.txt") in sources.changed()


def test_a_change_while_a_handler_is_imported_is_not_missed(tmp_path: Path) -> None:
    handler = tmp_path / "handler.py"
    handler.write_text("1")
    sources = Sources(str(tmp_path))
    handler.write_text("22")
    sources.add([str(handler)])
    assert sources.changed() == [str(handler)]


def test_a_file_that_goes_has_changed(tmp_path: Path) -> None:
    handler = tmp_path / "handler.py"
    handler.touch()
    sources = Sources(str(tmp_path))
    handler.unlink()
    assert sources.changed() == [str(handler)]
    assert Sources(str(tmp_path / "none")).changed() == []
