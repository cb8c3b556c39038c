"""The registry's file: what is damaged is refused and left as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.errors import SetupError
from emulator.services.sagemaker.records import ModelRecord
from emulator.services.sagemaker.registry import Registry
from tests.support.damaged_files import DAMAGES, Spoil, a_directory, changed_by


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[str]]:
    """The content of a file, and its records as text."""
    path = tmp_path_factory.mktemp("whole") / "registry.db"
    registry = Registry.open(path)
    for number in range(100):
        registry.put(ModelRecord(f"m{number}", {"ModelName": f"m{number}", "Environment": {"A": "x" * 200}}))
    records = texts(registry)
    registry.close()
    return path.read_bytes(), records


def texts(registry: Registry) -> list[str]:
    return sorted(str(vars(record)) for record in registry.all(ModelRecord))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (DAMAGES["of garbage"], "file is not a database"),
        (DAMAGES["truncated to 20000"], "cannot be used"),
        (changed_by("PRAGMA user_version = 99"), "is of another version of localmme"),
        (changed_by("""UPDATE records SET document = '{"kind": "model", "colour": 1}'"""), "cannot be used"),
        (a_directory, "cannot be used"),
    ],
    ids=["no database", "corrupt", "another version", "other content", "a directory"],
)
def test_a_file_that_cannot_be_used_is_explained(
    tmp_path: Path, whole: tuple[bytes, list[str]], spoil: Spoil, words: str
) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(whole[0])
    spoil(path)
    with pytest.raises(SetupError, match=words) as caught:
        Registry.open(path)
    assert str(path) in str(caught.value) and "--state-dir" in str(caught.value)


OTHER_RECORDS = {
    f"records of {what}": changed_by(f"UPDATE records SET document = '{document}' WHERE name = 'm1'")
    for what, document in (
        ("other types", '{"kind": "model", "name": 5, "asked": {}}'),
        ("no kind", '{"kind": "table", "name": "m1", "asked": {}}'),
    )
}


@pytest.mark.parametrize("spoil", [*DAMAGES.values(), *OTHER_RECORDS.values()], ids=[*DAMAGES, *OTHER_RECORDS])
def test_nothing_is_lost_silently_and_a_damaged_file_is_left_as_it_is(
    tmp_path: Path, whole: tuple[bytes, list[str]], spoil: Spoil
) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(whole[0])
    spoil(path)
    spoilt = path.read_bytes()
    assert spoilt
    try:
        registry = Registry.open(path)
    except SetupError as error:
        assert str(path) in str(error) and path.read_bytes() == spoilt
    else:
        assert texts(registry) == whole[1]
        registry.close()
