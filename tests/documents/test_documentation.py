"""README, docs and samples: what they tell readers to run works as it is written, and what they link to is there."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import docker
import pytest
import yaml

from localmme.options import DEBUG_PORT
from tests.documents import command_reference, module_reference
from tests.documents.reader import Block, Reader, blocks, builds, documents, needs_docker
from tests.support.docker_fixtures import tagged
from tests.support.files import archive
from tests.support.real_servers.images import Images
from tests.support.repository import REPOSITORY

RUN = ("sh", "python", "ipython", "console")
LINK = re.compile(r"\[[^\]]*\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`]+)`")
COMMANDS = command_reference.commands()
HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)
# What a reader brings along: a handler, and models that carry it. As light as can be, for the documents' sake.
HANDLER = """
import json
from pathlib import Path
from tests.support.repository import REPOSITORY


def model_fn(model_dir):
    return json.loads(Path(model_dir, "model.json").read_text())


def input_fn(body, content_type):
    if content_type == "text/csv":
        return [float(field) for field in body.split(",")]
    house = json.loads(body)
    return house if isinstance(house, list) else [house["rooms"], house["square_meters"], house["age"]]


def predict_fn(house, model):
    return {"city": model["city"], "prices": [sum(house) * model["factor"]]}
"""
TEST = """
import pytest


@pytest.mark.localmme(models="s3", handler="handler.py")
def test_lisbon(localmme):
    assert b"lisbon" in localmme.invoke("europe/lisbon.tar.gz", b"[3, 80, 20]")
"""
CITIES = {"europe/lisbon": 4200, "asia/osaka": 3600, "europe/berlin": 5200}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what documents take for granted."""
    directory = tmp_path_factory.mktemp("prepared")
    (directory / "handler.py").write_text(HANDLER)
    (directory / "house.csv").write_text("3,80,20")
    (directory / "models" / "lisbon").mkdir(parents=True)
    (directory / "models" / "lisbon" / "model.json").write_text(json.dumps({"city": "lisbon", "factor": 4200}))
    for city, factor in {**CITIES, "porto": 3000}.items():
        files = {"model.json": json.dumps({"city": Path(city).name, "factor": factor}), "code/inference.py": HANDLER}
        archive(directory / ("s3" if city in CITIES else "") / f"{city}.tar.gz", files)
        archive(directory / "archives" / f"{Path(city).name}.tar.gz", files)
    return directory


@pytest.fixture
def reader(prepared: Path, tmp_path: Path) -> Iterator[Reader]:
    directory = tmp_path / "reader"
    shutil.copytree(prepared, directory)
    ignored = shutil.ignore_patterns("__pycache__", "models")
    shutil.copytree(REPOSITORY / "samples", directory / "samples", ignore=ignored)
    reader = Reader(directory)
    yield reader
    reader.stop()


def name(document: Path) -> str:
    return str(document.relative_to(REPOSITORY))


def is_run(block: Block) -> bool:
    return block.language in RUN and block.directive("skip") is None and block.directive("file") is None


WITH_BLOCKS = [document for document in documents() if any(map(is_run, blocks(document)))]
ON_AN_ENGINE = [document for document in WITH_BLOCKS if needs_docker(document)]


@pytest.mark.parametrize("document", [each for each in WITH_BLOCKS if each not in ON_AN_ENGINE], ids=name)
def test_what_a_document_tells_to_run_works(document: Path, reader: Reader) -> None:
    follow(document, reader)


@pytest.mark.docker
@pytest.mark.parametrize("document", ON_AN_ENGINE, ids=name)
def test_what_a_document_tells_to_run_on_an_engine_works(
    document: Path, reader: Reader, engine: docker.DockerClient, images: Images
) -> None:
    with tagged(engine, {tag: images.sample(sample) for tag, sample in builds(document).items()}):
        follow(document, reader)


def follow(document: Path, reader: Reader) -> None:
    """Do what the document says."""
    for block in blocks(document):
        if (file := block.directive("file")) is not None:
            (reader.directory / file).write_text(block.text)
    for block in blocks(document):
        if is_run(block):
            reader.run(block)


def assert_keeps_schema(schema: str, file: Path) -> None:
    """What the makers of a system say its files look like."""
    command = [sys.executable, "-m", "check_jsonschema", f"--builtin-schema=vendor.{schema}", str(file)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_workflow_for_github_is_one_and_its_steps_do_what_they_say(reader: Reader) -> None:
    [workflow] = [block for block in blocks(REPOSITORY / "docs" / "ci.md") if block.language == "yaml"]
    file = reader.directory / "models.yml"
    file.write_text(workflow.text)
    assert_keeps_schema("github-workflows", file)
    (reader.directory / "test_models.py").write_text(TEST)
    [job] = yaml.safe_load(workflow.text)["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    for command in commands:
        if not command.startswith("pip "):
            reader.shell(command, str(workflow))
    shown = job["steps"][-1]["with"]["report_paths"]
    assert shown == "{check,pytest}.xml"
    for report in ("check.xml", "pytest.xml"):
        found = ElementTree.parse(reader.directory / report).getroot()
        assert list(found.iter("testcase")) and not [*found.iter("failure"), *found.iter("error")]


def test_the_sample_s_compose_file_is_one() -> None:
    assert_keeps_schema("compose-spec", REPOSITORY / "samples" / "docker" / "compose.yaml")


@pytest.mark.parametrize("document", documents(), ids=name)
def test_every_block_is_run_or_says_why_it_is_not(document: Path) -> None:
    for block in blocks(document):
        assert block.language, f"{block} has no language: ```text is what is neither run nor read"
        why = block.directive("skip")
        assert why is None or len(why.split()) >= 3, f"{block} does not say why it is not run"
        if block.language == "yaml":
            assert block.directive("file") is not None or why, f"{block} is read by nothing: name its file"


def anchors(document: Path) -> set[str]:
    """What GitHub makes of its headings."""
    headings = HEADING.findall(FENCED.sub("", document.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", documents(), ids=name)
def test_what_a_document_links_to_is_there(document: Path) -> None:
    links = LINK.findall(FENCED.sub("", document.read_text("utf-8")))
    for path, anchor in links:
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{name(document)} links to {path}"
        if anchor:
            assert anchor in anchors(target), f"{name(document)} links to {path}#{anchor}"


def test_every_document_in_docs_can_be_found_from_the_readme() -> None:
    linked = {path for path, _ in LINK.findall((REPOSITORY / "README.md").read_text("utf-8"))}
    assert {name(document) for document in documents() if document.parent.name == "docs"} <= linked


def test_the_document_of_the_commands_says_what_they_say() -> None:
    text = command_reference.DOCUMENT.read_text("utf-8")
    assert command_reference.missing(text) == []
    assert text == command_reference.renewed(text), "run: python -m tests.documents.command_reference"


def test_how_it_works_shows_every_room_and_every_module_by_its_first_line() -> None:
    text = module_reference.DOCUMENT.read_text("utf-8")
    assert module_reference.missing(text) == []
    assert text == module_reference.renewed(text), "run: python -m tests.documents.module_reference"


def commands_in(text: str) -> Iterator[list[str]]:
    """The command lines of localmme within a text, without its name."""
    for span in SPAN.findall(FENCED.sub("", text)):
        first, *words = span.split() or [""]
        if first == "localmme" and words:
            first, *words = words
        if first in COMMANDS and words:
            yield [first, *words]


@pytest.mark.parametrize("document", documents(), ids=name)
def test_what_a_text_names_as_a_command_has_these_options(document: Path) -> None:
    for first, *words in commands_in(document.read_text("utf-8")):
        options = {option for each in COMMANDS[first].params for option in (*each.opts, *each.secondary_opts)}
        named = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert named <= {*options, "--help", "--"}, f"{name(document)}: {first} {' '.join(words)}"


def test_what_an_editor_starts_is_a_command() -> None:
    [block] = [each for each in blocks(REPOSITORY / "docs" / "debugging.md") if each.language == "json"]
    attach, launch = json.loads(block.text)["configurations"]
    assert attach["connect"] == {"host": "127.0.0.1", "port": DEBUG_PORT}
    assert launch["module"] == "localmme"
    first, *words = launch["args"]
    COMMANDS[first].make_context(first, words)  # raises what is wrong with them


def messages() -> list[str]:
    """Every text in the source, as somebody would see it; what is filled in is ``...``."""
    found = []
    for package in ("emulator", "localmme"):
        for file in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append(
                        "".join(
                            str(getattr(part, "value", "")) if isinstance(part, ast.Constant) else "..."
                            for part in node.values
                        )
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


QUOTED = re.findall(r"^### `(.*)`$", (REPOSITORY / "docs" / "troubleshooting.md").read_text("utf-8"), re.MULTILINE)


def test_what_troubleshooting_quotes_is_what_localmme_says() -> None:
    assert len(QUOTED) > 20
    known = messages()
    for quoted in QUOTED:
        pieces = [re.escape(piece) for piece in quoted.split("...")]
        pattern = re.compile(".*".join(pieces), re.DOTALL)
        assert any(map(pattern.search, known)), f"nothing says: {quoted}"
