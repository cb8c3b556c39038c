"""What is relied on inside other libraries is there in those installed, and the modules that use it look for it."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from configparser import ConfigParser
from dataclasses import replace
from pathlib import Path

import pytest

from emulator import relied_on
from emulator.errors import SetupError
from emulator.relied_on import RELIED_ON, Parts, check, missing
from tests.support.repository import REPOSITORY

ALONE = "localmme.client_configuration.localmme_sts"  # cannot import what looks for parts


@pytest.mark.parametrize(
    ("parts", "name"),
    [pytest.param(parts, name, id=f"{parts.owner}.{name}") for parts in RELIED_ON for name in parts.names.split()],
)
def test_the_part_is_there(parts: Parts, name: str) -> None:
    importlib.import_module(parts.owner.partition(":")[0])
    assert missing(replace(parts, names=name)) == []


@pytest.mark.parametrize("user", sorted({user for parts in RELIED_ON for user in parts.users}))
def test_the_module_looks_for_the_parts_that_it_uses(user: str) -> None:
    found = importlib.util.find_spec(user)
    assert found is not None and found.origin is not None
    assert ("relied_on.check(__name__)" in Path(found.origin).read_text()) is (user != ALONE)


@pytest.mark.parametrize("library", sorted({parts.library for parts in RELIED_ON} - {"botocore"}))
def test_setup_cfg_bounds_the_versions_of_the_library(library: str) -> None:
    setup = ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    required = setup["options"]["install_requires"] + setup["options.extras_require"]["aws"]
    (requirement,) = [line for line in required.split() if line.startswith((f"{library}>", f"{library}["))]
    assert "<" in requirement


class TestAPartThatIsMissing:
    class Renamed:
        """A class of a library, as a later version has it."""

        def __init__(self) -> None:
            self.queue: list[int] = []

        def handle_term(self) -> None: ...

    PARTS = Parts("pytest", f"{__name__}:TestAPartThatIsMissing", "", "count to three", ("a.module",))

    def test_methods_and_attributes_that_are_given_to_objects_are_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys.modules[__name__], "Renamed", self.Renamed, raising=False)
        parts = replace(self.PARTS, owner=f"{__name__}:Renamed", names="handle_term queue handle_hup pipeline")
        assert missing(parts) == ["handle_hup", "pipeline"]

    def test_a_class_that_has_gone_has_none(self) -> None:
        assert missing(replace(self.PARTS, owner=f"{__name__}:Gone", names="a b")) == ["a", "b"]

    def test_it_is_named_with_its_library_and_what_it_is_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(relied_on, "RELIED_ON", (replace(self.PARTS, names="handle_hup"),))
        words = rf"pytest {pytest.__version__} has no TestAPartThatIsMissing\.handle_hup, which localmme needs to count"
        with pytest.raises(SetupError, match=words):
            check("a.module")
        check("another.module")


def test_looking_for_them_imports_nothing() -> None:
    code = """
import sys
from emulator import relied_on
before = set(sys.modules)
for parts in relied_on.RELIED_ON:
    relied_on.missing(parts)
sys.exit(len(set(sys.modules) - before))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
