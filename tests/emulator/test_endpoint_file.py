"""Files for ``localmme serve FILE``: what they describe, and what is said of what is wrong with them, and where."""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
import yaml
from botocore.model import Shape
from botocore.validate import ParamValidator
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emulator.aws.service_models import Problem, compiled_pattern, problems, shape
from emulator.containers.launch import Command, Image
from emulator.errors import SetupError
from emulator.hosting.definition import (
    Caching,
    ContainerDefinition,
    EndpointDefinition,
    ModelDefinition,
    Resources,
    VariantDefinition,
)
from emulator.hosting.instance_types import instance_type, instance_types, resources_of, unfit_for_many_models
from emulator.hosting.storage_sizes import local_disk_bytes
from emulator.services.sagemaker.image import embedded_server
from emulator.services.sagemaker.supported_members import MEMBERS, SWITCHED_OFF, Members
from localmme import endpoint_file
from localmme.aws_environment import region
from localmme.endpoint_file import MINIMAL_FILE
from tests.support.command_line import localmme
from tests.support.emulator_process import Emulator
from tests.support.files import archive
from tests.support.start_requests import definitions
from tests.support.waiting import eventually

GIB = 1024**3
HANDLER = "def handle(data, context):\n    return [b'hello']\n"

# Line numbers in the tests are those of this text.
GOOD = """\
Models:
  - ModelName: many
    PrimaryContainer:
      Image: handler:handler.py
      Mode: MultiModel
      ModelDataUrl: ./s3
      Environment: {LEVEL: "2"}
      MultiModelConfig: {ModelCacheSetting: Disabled}
  - ModelName: pipe
    Containers:
      - {ContainerHostname: before, Image: "my-image:1", ModelDataUrl: one.tar.gz}
      - {ContainerHostname: after, Image: "command:sh ./serve.sh", Mode: SingleModel}
    InferenceExecutionConfig: {Mode: Serial}
EndpointConfigs:
  - EndpointConfigName: both
    ProductionVariants:
      - VariantName: A
        ModelName: many
        InstanceType: ml.m5.large
        InitialInstanceCount: 2
        InitialVariantWeight: 0.9
        VolumeSizeInGB: 20
        ContainerStartupHealthCheckTimeoutInSeconds: 120
        RoutingConfig: {RoutingStrategy: LEAST_OUTSTANDING_REQUESTS}
      - VariantName: B
        ModelName: pipe
Endpoints:
  - {EndpointName: e, EndpointConfigName: both}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with all that GOOD speaks of."""
    (tmp_path / "s3").mkdir()
    archive(tmp_path / "one.tar.gz", {"x": "1"})
    (tmp_path / "handler.py").write_text(HANDLER)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    file = folder / "endpoint.yaml"
    file.write_text(text)
    return file


def read(file: Path) -> list[EndpointDefinition]:
    """What is hosted of a file."""
    return definitions(endpoint_file.read(file))


def told(folder: Path, text: str) -> list[str]:
    """What is said of a file, without the file's name before each line."""
    file = written(folder, text)
    with pytest.raises(SetupError) as error:
        read(file)
    lines = str(error.value).split("\n")
    assert all(line.startswith(f"{file}:") for line in lines), lines
    return [line.removeprefix(f"{file}:") for line in lines]


def changed(*replacements: str) -> str:
    """GOOD with every odd text replaced by the one after it."""
    text = GOOD
    for old, new in zip(replacements[::2], replacements[1::2]):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


# What a good file says


def test_a_file_says_all_that_the_emulator_can_take(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    handler = embedded_server(str(folder / "handler.py"))
    many = ModelDefinition(
        [
            ContainerDefinition(
                handler,
                folder / "s3",
                multi_model=True,
                environment={"LEVEL": "2"},
                caching=Caching(enabled=False),
            )
        ]
    )
    pipe = ModelDefinition(
        [
            ContainerDefinition(Image("my-image:1"), folder / "one.tar.gz", multi_model=False, hostname="before"),
            ContainerDefinition(Command(["sh", "./serve.sh"], folder), None, multi_model=False, hostname="after"),
        ]
    )
    assert read(written(folder, GOOD)) == [
        EndpointDefinition(
            "e",
            [
                VariantDefinition(many, Resources(8 * GIB, 20 * GIB, 2), "A", 2, 0.9, True, 120.0),
                VariantDefinition(pipe, resources_of(None, 30 * GIB), "B"),
            ],
            "eu-west-1",
        )
    ]


def test_the_same_file_can_be_json(folder: Path) -> None:
    expected = read(written(folder, GOOD))
    document = yaml.safe_load(GOOD)
    assert read(written(folder, json.dumps(document))) == expected
    assert read(written(folder, json.dumps(document, indent="\t"))) == expected


def test_json_numbers_and_characters_are_those_of_json(folder: Path) -> None:
    document = yaml.safe_load(GOOD)
    document["EndpointConfigs"][0]["ProductionVariants"][0]["InitialVariantWeight"] = 1e-05
    document["Models"][0]["PrimaryContainer"]["Environment"] = {"FACE": "\N{GRINNING FACE} ä", "N": "1e5"}
    [endpoint] = read(written(folder, json.dumps(document)))
    assert endpoint.variants[0].weight == 1e-05
    environment = endpoint.variants[0].model.containers[0].environment
    assert (environment["FACE"], environment["N"]) == ("\N{GRINNING FACE} ä", "1e5")


def test_the_minimal_file_of_the_error_message_works(folder: Path) -> None:
    [endpoint] = read(written(folder, MINIMAL_FILE))
    assert endpoint.name == "local"
    assert endpoint.variants[0].model.multi_model is not None


def test_without_instance_type_an_instance_is_this_machine(folder: Path) -> None:
    [endpoint] = read(written(folder, changed("        InstanceType: ml.m5.large\n", "")))
    assert endpoint.variants[0].resources.memory_bytes == psutil.virtual_memory().total


def test_a_gpu_instance_passes_no_gpus_on(folder: Path) -> None:
    [endpoint] = read(written(folder, changed("ml.m5.large", "ml.g5.xlarge")))
    assert endpoint.variants[0].resources == Resources(16 * GIB, 250 * 10**9, 4, gpus=0)  # on a disk of its own


def test_one_container_in_containers_is_as_a_primary_container(folder: Path) -> None:
    primary = MINIMAL_FILE
    listed = primary.replace("PrimaryContainer: {", "Containers: [{").replace("./s3}", "./s3}]")
    assert listed != primary
    assert read(written(folder, listed)) == read(written(folder, primary))


def test_direct_invocation(folder: Path) -> None:
    [endpoint] = read(written(folder, changed("{Mode: Serial}", "{Mode: Direct}")))
    assert endpoint.variants[1].model.direct
    assert endpoint.variants[1].model.container_names() == ["before", "after"]


def test_all_variants_may_have_no_weight(folder: Path) -> None:
    text = changed(
        "0.9", "0", "ModelName: pipe\nEndpoints", "ModelName: pipe\n        InitialVariantWeight: 0\nEndpoints"
    )
    [endpoint] = read(written(folder, text))
    assert [variant.weight for variant in endpoint.variants] == [0, 0]


def test_models_and_configs_may_be_there_for_nobody(folder: Path) -> None:
    text = changed(
        "EndpointConfigs:\n", "  - {ModelName: more, PrimaryContainer: {Image: x}}\nEndpointConfigs:\n"
        "  - {EndpointConfigName: more, ProductionVariants: [{VariantName: A, ModelName: more}]}\n"
    )  # fmt: skip
    assert read(written(folder, text)) == read(written(folder, GOOD))


def test_anchors_aliases_and_merges(folder: Path) -> None:
    text = changed(
        "    PrimaryContainer:\n", "    PrimaryContainer: &many\n",
        "EndpointConfigs:\n", "  - ModelName: other\n    PrimaryContainer:\n      <<: *many\n"
        "      MultiModelConfig: {ModelCacheSetting: Enabled}\nEndpointConfigs:\n",
        "ModelName: pipe\nEndpoints", "ModelName: other\nEndpoints",
    )  # fmt: skip
    [endpoint] = read(written(folder, text))
    many, other = (variant.model.containers[0] for variant in endpoint.variants)
    assert other == dataclasses.replace(many, caching=Caching(enabled=True))


@pytest.mark.parametrize(
    "image, expected",
    [
        ("name", Image("name")),
        ("name:tag", Image("name:tag")),
        ("name@sha256:" + "0" * 64, Image("name@sha256:" + "0" * 64)),
        (
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/a/b:1",
            Image("123456789012.dkr.ecr.us-east-1.amazonaws.com/a/b:1"),
        ),
        ("docker.io/library/handler:1", Image("docker.io/library/handler:1")),
        ("handler", Image("handler")),
        ("command", Image("command")),
        ("command:sh -c 'exec server'", Command(["sh", "-c", "exec server"], Path("{folder}"))),
        ("command:./serve.sh --x", Command(["{folder}/serve.sh", "--x"], Path("{folder}"))),
        ("handler:", embedded_server(None)),
        ("handler:handler.py:handle", "{folder}/handler.py:handle"),
        ("handler:{folder}/handler.py", "{folder}/handler.py"),
        ("handler:~/handler.py", "{folder}/handler.py"),
    ],
)
def test_images(folder: Path, monkeypatch: pytest.MonkeyPatch, image: str, expected: Image | Command | str) -> None:
    monkeypatch.setenv("HOME", str(folder))
    (folder / "serve.sh").touch(0o755)
    [endpoint] = read(
        written(folder, changed("handler:handler.py", json.dumps(image.replace("{folder}", str(folder)))))
    )
    container = endpoint.variants[0].model.containers[0]
    if isinstance(expected, str):
        command = embedded_server(None)
        expected = dataclasses.replace(command, words=[*command.words, "--handler", expected])
    if isinstance(expected, Command):
        words = [word.replace("{folder}", str(folder)) for word in expected.words]
        directory = Path(str(expected.directory).replace("{folder}", str(folder)))
        expected = dataclasses.replace(expected, words=words, directory=directory)
    assert container.runs == expected
    assert container.environment == {"LEVEL": "2"}  # nothing that SageMaker would not set


@pytest.mark.parametrize(
    "url", ["s3", "./s3/", "{folder}/s3", "file://{folder}/s3", "file://localhost{folder}/%73%33", "~/s3"]
)
def test_places_of_model_data(folder: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("HOME", str(folder))
    [endpoint] = read(written(folder, changed("./s3", url.replace("{folder}", str(folder)))))
    assert endpoint.variants[0].model.containers[0].model_data == folder / "s3"


# What is wrong with a file


@pytest.mark.parametrize(
    "replacements, expected",
    [
        # The API's rules
        (
            ["ModelName: many\n    P", "ModelNam: many\n    P"],
            [
                "2: ModelNam: is not a member of CreateModelInput: did you mean ModelName?",
                "2: ModelName: is missing",
                "18: ProductionVariants[0].ModelName: Models has no item named many",
            ],
        ),
        (["Image: handler", "image: handler"], [
            "4: PrimaryContainer.image: is not a member of ContainerDefinition: did you mean Image?",
            "3: PrimaryContainer.Image: is missing: give a Docker image, handler:FILE or command:WORDS",
        ]),
        (["0.9", "-1"], ["21: ProductionVariants[0].InitialVariantWeight: must be at least 0, not -1"]),
        (["0.9", ".nan"], ["21: ProductionVariants[0].InitialVariantWeight: must be a number, not nan"]),
        (["0.9", "much"], ['21: ProductionVariants[0].InitialVariantWeight: must be a number, not "much"']),
        (["Count: 2", "Count: 0"], ["20: ProductionVariants[0].InitialInstanceCount: must be at least 1, not 0"]),
        (["Count: 2", "Count: 2.0"], [
            "20: ProductionVariants[0].InitialInstanceCount: must be a whole number, not 2.0"
        ]),
        (["Count: 2", "Count: yes"], [
            "20: ProductionVariants[0].InitialInstanceCount: must be a whole number, not true"
        ]),
        (["Count: 2", "Count: 3000000000"], [
            "20: ProductionVariants[0].InitialInstanceCount: must be at most 2147483647, not 3000000000"
        ]),
        (["InGB: 20", "InGB: 513"], ["22: ProductionVariants[0].VolumeSizeInGB: must be at most 512, not 513"]),
        (["Seconds: 120", "Seconds: 59"], [
            "23: ProductionVariants[0].ContainerStartupHealthCheckTimeoutInSeconds: must be at least 60, not 59"
        ]),
        (["Mode: MultiModel", "Mode: Multi"], [
            '5: PrimaryContainer.Mode: must be SingleModel or MultiModel, not "Multi"',
            "6: PrimaryContainer.ModelDataUrl: {folder}/s3 is not a file, and Mode SingleModel takes "
            "one model archive (.tar.gz)",
            "8: PrimaryContainer.MultiModelConfig: goes with Mode: MultiModel",
        ]),
        (["{Mode: Serial}", "{}"], ["13: InferenceExecutionConfig.Mode: is missing"]),
        (["ContainerHostname: before", "ContainerHostname: be_fore"], [
            "11: Containers[0].ContainerHostname: must match [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}, "
            'which "be_fore" does not'
        ]),
        (["EndpointName: e", f"EndpointName: {'e' * 64}"], [
            "28: EndpointName: must have at most 63 characters, not 64"
        ]),
        (["    ProductionVariants:\n", "    ProductionVariants: []\n    Others:\n"], [
            "16: ProductionVariants: must have at least 1 item, not 0",
            "17: Others: is not a member of CreateEndpointConfigInput",
        ]),
        (['{LEVEL: "2"}', "{LEVEL: 2}"], [
            '7: PrimaryContainer.Environment.LEVEL: must be a string, not 2: put it in quotes, "2"'
        ]),
        (['{LEVEL: "2"}', "{LEVEL: on}"], [
            '7: PrimaryContainer.Environment.LEVEL: must be a string, not true: put it in quotes, "on"'
        ]),
        (['{LEVEL: "2"}', "{LEVEL: 2026-01-31}"], [
            '7: PrimaryContainer.Environment.LEVEL: must be a string, not 2026-01-31: put it in quotes, "2026-01-31"'
        ]),
        (['{LEVEL: "2"}', "{LEVEL: }"], ["7: PrimaryContainer.Environment.LEVEL: must be a string, not empty"]),
        (['{LEVEL: "2"}', "{LEVEL: [2]}"], ["7: PrimaryContainer.Environment.LEVEL: must be a string, not a list"]),
        (['{LEVEL: "2"}', "{2L: x}"], [
            '7: PrimaryContainer.Environment.2L: must match [a-zA-Z_][a-zA-Z0-9_]*, which "2L" does not'
        ]),
        (['{LEVEL: "2"}', "[LEVEL]"], ["7: PrimaryContainer.Environment: must be a mapping, not a list"]),
        (['{LEVEL: "2"}', json.dumps({f"V{n}": "x" * 1000 for n in range(33)})], [
            "2: Models[0]: has more than 32768 bytes of Environment, all containers together"
        ]),
        # One thing or the other
        (["    Containers:", "    PrimaryContainer: {Image: x}\n    Containers:"], [
            "9: Models[1]: takes PrimaryContainer or Containers, not both"
        ]),
        (["EndpointConfigs:\n", "  - ModelName: x\nEndpointConfigs:\n"], [
            "14: Models[2]: takes PrimaryContainer or Containers, and has none"
        ]),
        # Containers that do not go together
        (["ContainerHostname: after, ", ""], ["9: Models[1]: Give every container a ContainerHostname, or none."]),
        (["ContainerHostname: after", "ContainerHostname: before"], [
            "9: Models[1]: Each container needs a ContainerHostname of its own."
        ]),
        (["one.tar.gz}", "s3, Mode: MultiModel}", "Mode: SingleModel", "Mode: MultiModel, ModelDataUrl: s3"], [
            "9: Models[1]: At most one container of a model can have Mode MultiModel."
        ]),
        # Names
        (["VariantName: B", "VariantName: A"], [
            "25: ProductionVariants[1].VariantName: is the name of another one, on line 17"
        ]),
        (["ModelName: pipe\n    C", "ModelName: Many\n    C"], [
            "9: ModelName: is the name of another one, on line 2",
            "26: ProductionVariants[1].ModelName: Models has no item named pipe",
        ]),
        (["Endpoints:\n", "Endpoints:\n  - {EndpointName: E, EndpointConfigName: both}\n"], [
            "29: EndpointName: is the name of another one, on line 28"
        ]),
        (["ModelName: many\n    P", "ModelName: money\n    P"], [
            "18: ProductionVariants[0].ModelName: Models has no item named many"
        ]),
        (["ModelName: pipe\nE", "ModelName: pip\nE"], [
            "26: ProductionVariants[1].ModelName: Models has no item named pip: did you mean pipe?"
        ]),
        (["ConfigName: both}", "ConfigName: Both}"], [
            "28: EndpointConfigName: EndpointConfigs has no item named Both: did you mean both?"
        ]),
        (["        ModelName: pipe\n", ""], [
            "25: ProductionVariants[1].ModelName: is missing: variants for inference components are not emulated"
        ]),
        # What is particular to localmme
        (["ml.m5.large", "m5.large"], [
            '19: ProductionVariants[0].InstanceType: there is no "m5.large": did you mean ml.m5.large?'
        ]),
        (["ml.m5.large", "5"], [
            '19: ProductionVariants[0].InstanceType: must be a string, not 5: put it in quotes, "5"'
        ]),
        (["./s3", "./none"], [
            "6: PrimaryContainer.ModelDataUrl: there is no {folder}/none: give a directory of model archives (.tar.gz)"
        ]),
        (["Url: one.tar.gz", "Url: none.tar.gz", "./s3", "one.tar.gz"], [
            "6: PrimaryContainer.ModelDataUrl: {folder}/one.tar.gz is not a directory, and Mode MultiModel takes "
            "a directory of model archives (.tar.gz)",
            "11: Containers[0].ModelDataUrl: there is no {folder}/none.tar.gz: give one model archive (.tar.gz)",
        ]),
        (["one.tar.gz", "s3"], [
            "11: Containers[0].ModelDataUrl: {folder}/s3 is not a file, and Mode SingleModel takes "
            "one model archive (.tar.gz)"
        ]),
        (["      ModelDataUrl: ./s3\n", ""], [
            "3: PrimaryContainer.ModelDataUrl: is missing: Mode MultiModel needs "
            "a directory of model archives (.tar.gz)"
        ]),
        (["./s3", "gs://bucket/models"], [
            "6: PrimaryContainer.ModelDataUrl: must be a path on this machine or an s3:// URL, not gs://bucket/models: "
            "give that of a directory of model archives (.tar.gz)"
        ]),
        (["./s3", "file://host/s3"], [
            "6: PrimaryContainer.ModelDataUrl: must be a path on this machine or an s3:// URL, not file://host/s3: "
            "give that of a directory of model archives (.tar.gz)"
        ]),
        (["one.tar.gz", '"https://x/y.tar.gz"'], [
            "11: Containers[0].ModelDataUrl: https://x/y.tar.gz is not a URL of S3: write s3://BUCKET/PREFIX."
        ]),
        (["./s3", '"https://[x"'], [
            "6: PrimaryContainer.ModelDataUrl: https://[x is not a URL of S3: write s3://BUCKET/PREFIX."
        ]),
        (["./s3", "s3:///models"], [
            "6: PrimaryContainer.ModelDataUrl: s3:///models names no bucket: write s3://BUCKET/PREFIX."
        ]),
        (["one.tar.gz", "s3://bucket/models/"], [
            "11: Containers[0].ModelDataUrl: s3://bucket/models/ is not an object, and Mode SingleModel takes "
            "one model archive (.tar.gz)"
        ]),
        (["handler:handler.py", "handler:" + "x" * 300], [
            "4: PrimaryContainer.Image: cannot be looked for: File name too long"
        ]),
        (["handler:handler.py", "handler:other.py"], [
            "4: PrimaryContainer.Image: There is no handler file {folder}/other.py."
        ]),
        (['"my-image:1", ModelDataUrl: one.tar.gz', '"handler:"'], [
            "11: Containers[0].Image: needs an archive that carries the handler: give ModelDataUrl"
        ]),
        (["command:sh ./serve.sh", "command:no-such-program"], [
            "12: Containers[1].Image: There is no program 'no-such-program' to run. Check the spelling, or give its "
            "full path."
        ]),
        (["command:sh ./serve.sh", "command:sh 'x"], [
            "12: Containers[1].Image: The command cannot be split into words: No closing quotation. Check its quotes."
        ]),
        (["command:sh ./serve.sh", "command: "], [
            "12: Containers[1].Image: takes a Docker image (REPOSITORY:TAG, with the repository in lower case), "
            'handler:FILE or command:WORDS, not "command: "'
        ]),
        (["my-image:1", "my image"], [
            "11: Containers[0].Image: takes a Docker image (REPOSITORY:TAG, with the repository in lower case), "
            'handler:FILE or command:WORDS, not "my image"'
        ]),
        (["      Mode: MultiModel\n", "", "./s3", "./one.tar.gz"], [
            "7: PrimaryContainer.MultiModelConfig: goes with Mode: MultiModel"
        ]),
        # What cannot be emulated
        (["{RoutingStrategy: LEAST_OUTSTANDING_REQUESTS}", "{RoutingStrategy: KV_AWARE}"], [
            "24: ProductionVariants[0].RoutingConfig.RoutingStrategy: must be RANDOM or LEAST_OUTSTANDING_REQUESTS, "
            'not "KV_AWARE": others are not emulated'
        ]),
        # The file's own shape
        (["EndpointConfigs:\n", "Stages: []\nEndpointConfigs:\n"], [
            "14: Stages: is not a key of this file: there are Models, EndpointConfigs, Endpoints"
        ]),
        (["EndpointConfigs:\n", "EndpointConfig:\n"], [
            "14: EndpointConfig: is not a key of this file: did you mean EndpointConfigs?",
            "28: EndpointConfigName: EndpointConfigs has no item named both",
        ]),
        (["  - {EndpointName: e, EndpointConfigName: both}", "  {EndpointName: e, EndpointConfigName: both}"], [
            "27: Endpoints: must be a list, not a mapping"
        ]),
        (["{EndpointName: e, EndpointConfigName: both}", "e"], ['28: Endpoints[0]: must be a mapping, not "e"']),
        (["{EndpointName: e, EndpointConfigName: both}", ""], ["28: Endpoints[0]: must be a mapping, not empty"]),
        (["      - VariantName: B\n        ModelName: pipe\n", "      - B\n"], [
            '25: ProductionVariants[1]: must be a mapping, not "B"'
        ]),
        # YAML
        (["      Mode: MultiModel\n", "      Mode: MultiModel\n      Mode: MultiModel\n"], [
            "6: PrimaryContainer.Mode: is there twice: it is on line 5 already"
        ]),
        (["      Mode: MultiModel\n", "\tMode: MultiModel\n"], ["5: a tab: YAML is indented by spaces only"]),
        (["handler:handler.py", "handler:"], [
            "4: mapping values are not allowed here: put a text that ends with a colon, or has one before a space, "
            "in quotes"
        ]),
        (["{Mode: Serial}", "{Mode: Serial"], [
            "14: while parsing a flow mapping, expected ',' or '}', but got ':'"
        ]),
        (["Endpoints:\n", "---\nEndpoints:\n"], [
            "27: expected a single document in the stream, but found another document"
        ]),
        (["{Mode: Serial}", "*serial"], ["13: found undefined alias 'serial'"]),
        (["{Mode: Serial}", "!Ref serial"], ["13: InferenceExecutionConfig: has a tag that means nothing here: !Ref"]),
        (["{Mode: Serial}", "!!set {Serial}"], [
            "13: InferenceExecutionConfig: has a tag that means nothing here: !!set"
        ]),
        (["{Mode: Serial}", "{[Mode]: Serial, Mode: Serial}"], [
            "13: InferenceExecutionConfig: has a key that is not a string"
        ]),
        (["{Mode: Serial}", "{<<: Serial, Mode: Serial}"], ["13: InferenceExecutionConfig.<<: takes mappings only"]),
        (["{Mode: Serial}", "&a {Mode: *a}"], [
            "13: InferenceExecutionConfig.Mode: is an alias of something that it is itself a part of"
        ]),
        (["{Mode: Serial}", "&a {<<: *a, Mode: Other}"], [
            '13: InferenceExecutionConfig.Mode: must be Serial or Direct, not "Other"'
        ]),
        (['"2"', "2026-13-01"], [
            "7: PrimaryContainer.Environment.LEVEL: cannot be read: month must be in 1..12. If it is meant as a "
            "string, put it in quotes"
        ]),
        (['"2"', r'"a\0b"'], ["7: PrimaryContainer.Environment.LEVEL: has the character NUL in it"]),
        (["Mode: Serial", "Mode: \x07"], ["13: the character 0x7 is not allowed in YAML"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_line_and_key(folder: Path, replacements: list[str], expected: list[str]) -> None:
    lines = told(folder, changed(*replacements))
    wanted = [line.replace("{folder}", str(folder)) for line in expected]
    assert sorted(lines) == sorted(wanted)
    assert lines == sorted(lines, key=lambda line: int(line.split(":")[0]))


def test_all_problems_of_a_file_are_told_at_once(folder: Path) -> None:
    text = changed("Mode: Serial", "Mode: X", "0.9", "-1", "e, E", "e_, E")
    assert [line.split(": ")[:2] for line in told(folder, text)] == [
        ["13", "InferenceExecutionConfig.Mode"],
        ["21", "ProductionVariants[0].InitialVariantWeight"],
        ["28", "EndpointName"],
    ]


@pytest.mark.parametrize(
    "text, start",
    [
        ("", "1: Endpoints: must have an endpoint"),
        ("# nothing\n", "1: Endpoints: must have an endpoint"),
        ("Models: []\n", "1: Endpoints: must have an endpoint"),
        ("Models: []\nEndpoints:\n", "2: Endpoints: must have an endpoint"),
        ("Models: []\nEndpoints: []\n", "2: Endpoints: must have an endpoint"),
    ],
)
def test_a_file_without_endpoints_is_shown_a_minimal_one(folder: Path, text: str, start: str) -> None:
    file = written(folder, text)
    with pytest.raises(SetupError) as error:
        read(file)
    assert str(error.value).startswith(f"{file}:{start}")
    assert MINIMAL_FILE in str(error.value)


@pytest.mark.parametrize("text", ["hello", "- a\n- b\n", "3"])
def test_a_file_that_is_no_mapping(folder: Path, text: str) -> None:
    [line] = told(folder, text)
    assert line.startswith("1: must be a mapping with the keys Models, EndpointConfigs, Endpoints, not ")


def test_files_that_cannot_be_read(folder: Path) -> None:
    with pytest.raises(SetupError, match="There is no file"):
        read(folder / "none.yaml")
    with pytest.raises(SetupError, match="--models"):
        read(folder / "s3")
    (folder / "latin.yaml").write_bytes("Models:\n# ä\n".encode("latin-1"))
    with pytest.raises(SetupError, match=r"latin.yaml:2: the file is not UTF-8 text"):
        read(folder / "latin.yaml")
    (folder / "deep.yaml").write_text("[" * 5000)
    with pytest.raises(SetupError, match=r"deep.yaml:1: the file is nested too deeply"):
        read(folder / "deep.yaml")


@given(st.text(alphabet="[]{}:,-&*!|>'\"%@#? \n\tabM0", max_size=60), st.integers(0, len(GOOD)))
@settings(max_examples=300, deadline=None)
@example("&a [*a]", 8)
def test_no_text_brings_the_reader_down(noise: str, at: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for text in (noise, GOOD[:at] + noise + GOOD[at:]):
            try:
                read(written(Path(folder), text))
            except SetupError as error:
                assert str(error).startswith(f"{folder}/endpoint.yaml:")


# What is not emulated


def structures() -> Iterator[tuple[str, str]]:
    """Every member of every structure that MEMBERS lists."""
    for name in MEMBERS:
        for member in shape(name).members:
            yield name, member


# Where each structure stands in a file, its keys being values of the example.
def document_with(structure: str, member: str = "", value: Any = None) -> dict[str, Any]:
    document = yaml.safe_load(GOOD)
    model, config, endpoint = document["Models"][0], document["EndpointConfigs"][0], document["Endpoints"][0]
    variant = config["ProductionVariants"][0]
    objects = {"S3Uri": "s3://bucket/model/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    if structure == "S3ModelDataSource":
        document["Models"][1]["Containers"][1]["ModelDataSource"] = {"S3DataSource": objects}
    place = {
        "S3ModelDataSource": objects,
        "CreateModelInput": model,
        "ContainerDefinition": model["PrimaryContainer"],
        "MultiModelConfig": model["PrimaryContainer"]["MultiModelConfig"],
        "InferenceExecutionConfig": document["Models"][1]["InferenceExecutionConfig"],
        "CreateEndpointConfigInput": config,
        "ProductionVariant": variant,
        "ProductionVariantRoutingConfig": variant["RoutingConfig"],
        "CreateEndpointInput": endpoint,
    }[structure]
    if member:
        place[member] = value
    return document


def test_the_lists_name_only_what_the_api_has() -> None:
    for name, members in MEMBERS.items():
        known = set(shape(name).members)
        assert members.used | members.ignored | set(members.refused) <= known
        assert not members.used & members.ignored and not set(members.refused) & (members.used | members.ignored)
    refused = {name for members in MEMBERS.values() for name in members.refused}
    assert set(SWITCHED_OFF) <= refused


@pytest.mark.parametrize("structure, member", list(structures()))
def test_every_member_is_used_or_ignored_or_refused_by_name(folder: Path, structure: str, member: str) -> None:
    if member in MEMBERS[structure].used:
        return
    document = document_with(structure, member, fitting(shape(structure).members[member]))
    text = yaml.safe_dump(document, sort_keys=False)
    if member in MEMBERS[structure].ignored:
        without = yaml.safe_dump(document_with(structure), sort_keys=False)
        assert read(written(folder, text)) == read(written(folder, without))
    else:
        [line] = told(folder, text)
        number, key, message = line.split(": ", 2)
        assert member + ":" in text.splitlines()[int(number) - 1]
        assert key.split(".")[-1] == member
        assert message.startswith("is not emulated")


def test_what_is_ignored_is_checked_all_the_same(folder: Path) -> None:
    [line] = told(folder, changed("    PrimaryContainer", "    ExecutionRoleArn: me\n    PrimaryContainer"))
    assert line.startswith("3: ExecutionRoleArn: must have at least 20 characters, not 2")


def test_a_member_that_the_api_gets_later_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = MEMBERS["CreateModelInput"]
    older = Members(known.used, known.ignored - {"EnableNetworkIsolation"}, known.refused)
    monkeypatch.setitem(MEMBERS, "CreateModelInput", older)
    text = changed("    PrimaryContainer", "    EnableNetworkIsolation: true\n    PrimaryContainer")
    assert told(folder, text) == ["3: EnableNetworkIsolation: is not emulated"]


@pytest.mark.parametrize(
    "structure, member",
    [("CreateEndpointConfigInput", "DataCaptureConfig"), ("ProductionVariant", "ManagedInstanceScaling")],
)
def test_what_is_switched_off_may_be_there(folder: Path, structure: str, member: str) -> None:
    switch, off = SWITCHED_OFF[member]
    value = {**fitting(shape(structure).members[member]), switch: off}
    document = document_with(structure, member, value)
    assert read(written(folder, yaml.safe_dump(document))) == read(written(folder, GOOD))


# The API's model


def reachable() -> dict[str, Shape]:
    """Every shape within the three calls."""
    found: dict[str, Shape] = {}

    def add(one: Shape) -> None:
        if one.name not in found:
            found[one.name] = one
            parts: list[Shape] = []
            if one.type_name == "structure":
                parts = list(one.members.values())
            elif one.type_name == "list":
                parts = [one.member]
            elif one.type_name == "map":
                parts = [one.key, one.value]
            for part in parts:
                add(part)

    for call in ("CreateModelInput", "CreateEndpointConfigInput", "CreateEndpointInput"):
        add(shape(call))
    return found


SHAPES = reachable()
TEXTS = [
    "a", "aaaa", "/a", "s3://b/k", "mig-1g.5gb", "arn:aws:iam::123456789012:role/x",
    "arn:aws:sagemaker:us-east-1:123456789012:x/y", "arn:aws:sns:us-east-1:123456789012:x", "text/csv",
    "application/json", "arn:aws:lambda:us-east-1:123456789012:function:x", "", "!", " ", "\n", "ü\0", "//..", "a b",
]  # fmt: skip


def fitting(of: Shape, full: bool = True) -> Any:
    """A value that the API takes, with every member or with the required ones."""
    if of.type_name == "structure":
        return {
            name: fitting(member, full) for name, member in of.members.items() if full or name in of.required_members
        }
    if of.type_name == "list":
        return [fitting(of.member, full)] * max(1, of.metadata.get("min", 0))
    if of.type_name == "map":
        return {fitting(of.key): fitting(of.value)}
    if of.type_name == "string":
        if "enum" in of.metadata:
            return of.metadata["enum"][0]
        return next(text for text in TEXTS if fits(of, text))
    if of.type_name == "boolean":
        return True
    return of.metadata.get("min", 1)


def fits(of: Shape, text: str) -> bool:
    compiled = compiled_pattern(of.metadata.get("pattern", r"[\s\S]*"))
    assert compiled is not None, of.metadata["pattern"]
    least, most = of.metadata.get("min", 0), of.metadata.get("max", 10**6)
    return least <= len(text) <= most and compiled.fullmatch(text) is not None


def unfitting(of: Shape) -> Iterator[tuple[Any, str]]:
    """Values of the right type that break one rule each, and the kind of that rule."""
    least, most = of.metadata.get("min"), of.metadata.get("max")
    if of.type_name in ("integer", "long", "float", "double"):
        if least is not None:
            yield least - 1, "min"
        if most is not None:
            yield most + 1, "max"
    elif of.type_name == "string":
        if "enum" in of.metadata:
            yield "no-such-value", "enum"
            yield of.metadata["enum"][0] + " ", "enum"
            return
        if least:
            yield "a" * (least - 1), "min"
        if most is not None:
            yield "a" * (most + 1), "max"
        wrong = [text for text in TEXTS if len(text) >= (least or 0) and len(text) <= (most or 10**6)]
        wrong.append("\n" * max(1, least or 0))
        yield from ((text, "pattern") for text in wrong if not fits(of, text))
    elif of.type_name == "list":
        if least:
            yield [fitting(of.member)] * (least - 1), "min"
        if most is not None:
            yield [fitting(of.member)] * (most + 1), "max"
    elif of.type_name == "map" and most is not None:
        yield {f"a{n}": fitting(of.value) for n in range(most + 1)}, "max"


WRONG_TYPES: list[Any] = [None, True, 1, 1.5, "a", [], {}]
RIGHT_TYPES: dict[str, list[Any]] = {
    "structure": [{}], "map": [{}], "list": [[]], "string": ["a"], "boolean": [True],
    "integer": [1], "long": [1], "float": [1, 1.5], "double": [1, 1.5],
}  # fmt: skip


def found(of: Shape, value: Any) -> list[Problem]:
    return list(problems(of, value, ("at",)))


def botocore_minds(of: Shape, value: Any) -> bool:
    return ParamValidator().validate(value, of).has_errors()


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("full", [True, False])
def test_the_api_takes_what_fits(name: str, full: bool) -> None:
    value = fitting(SHAPES[name], full)
    assert found(SHAPES[name], value) == []
    assert not botocore_minds(SHAPES[name], value)


@pytest.mark.parametrize("name", SHAPES)
def test_the_api_refuses_what_breaks_a_rule(name: str) -> None:
    of = SHAPES[name]
    cases = list(unfitting(of))
    if of.metadata.get("enum") or of.metadata.get("max") or of.metadata.get("min"):
        assert cases, "a rule without a case"
    for value, kind in cases:
        [problem] = found(of, value)
        assert (problem.place, problem.kind) == (("at",), kind), value
        if kind in ("min", "max", "pattern", "enum"):
            assert problem.bound == of.metadata[kind]
            assert "\n" not in problem.message


@pytest.mark.parametrize("name", SHAPES)
def test_the_api_refuses_other_types(name: str) -> None:
    of = SHAPES[name]
    right = [repr(value) for value in RIGHT_TYPES[of.type_name]]
    for value in WRONG_TYPES:
        if repr(value) not in right:
            [problem] = found(of, value)
            assert (problem.place, problem.kind, problem.bound) == (("at",), "type", of.type_name)
            # To Python, and so to botocore, True is a number.
            assert botocore_minds(of, value) or value is True


@pytest.mark.parametrize("name", [name for name, of in SHAPES.items() if of.type_name == "structure"])
def test_the_api_refuses_members_that_are_missing_or_unknown(name: str) -> None:
    of, value = SHAPES[name], fitting(SHAPES[name])
    for member in of.required_members:
        less = {key: item for key, item in value.items() if key != member}
        [problem] = found(of, less)
        assert (problem.place, problem.kind) == (("at", member), "missing")
        assert botocore_minds(of, less)
    [problem] = found(of, {**value, "NoSuchMember": 1})
    assert (problem.place, problem.kind) == (("at", "NoSuchMember"), "unknown")
    assert botocore_minds(of, {**value, "NoSuchMember": 1})
    for member in of.members:
        swapped = {**value, member.swapcase(): value[member]}
        assert f"did you mean {member}?" in found(of, swapped)[0].message


def test_java_patterns_mean_in_python_what_they_mean_in_java() -> None:
    tag = compiled_pattern(SHAPES["TagValue"].metadata["pattern"])
    role = compiled_pattern(SHAPES["RoleArn"].metadata["pattern"])
    assert tag is not None and role is not None
    assert all(tag.fullmatch(text) for text in ("", "Grün 1", "日本", "²\u2003x", "a/b:c@d"))
    assert not any(tag.fullmatch(text) for text in ("x!", "a\tb", "a\nb", "#"))
    assert role.fullmatch("arn:aws:iam::123456789012:role/x")
    assert not role.fullmatch("arn:aws:iam::١٢٣٤٥٦٧٨٩٠١٢:role/x")  # \d is ASCII's in Java
    assert compiled_pattern(r"[\p{L}\p{M}]") is None  # not known here, so not checked


def test_of_alternatives_exactly_one_is_taken() -> None:
    union = shape("AutoMLProblemTypeConfig")
    first, second, *_ = union.members
    kinds = [problem.kind for problem in found(union, {first: {}, second: {}})]
    assert kinds.count("union") == 1
    assert [problem.kind for problem in found(union, {})] == ["union"]


# Anything that can be said can be read

NAMES = st.from_regex(r"[a-zA-Z0-9](-?[a-zA-Z0-9]){0,8}", fullmatch=True)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs", "Cc"]), max_size=20)
ENVIRONMENTS = st.dictionaries(
    st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True),
    VALUES | st.sampled_from(["no", "1", "1e3", "2024-01-01", "~", "", "null", "0x1", "1:30", " x ", "a\nb"]),
    max_size=4,
)


@functools.cache
def shared_directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()  # goes when Python ends


@functools.cache
def shared_folder() -> Path:
    folder = Path(shared_directory().name)
    (folder / "s3").mkdir()
    archive(folder / "one.tar.gz", {"x": "1"})
    (folder / "handler.py").write_text(HANDLER)
    return folder


@st.composite
def containers(draw: st.DrawFn, multi_model: bool, hostname: str) -> ContainerDefinition:
    folder = shared_folder()
    choice: list[Image | Command] = [
        Image("my-image:1"),
        Image("localhost:5000/a/b@sha256:" + "a" * 64),
        Command(["sh", "-c", "it's"], folder),
        embedded_server(str(folder / "handler.py")),
        embedded_server(f"{folder / 'handler.py'}:handle"),
    ]
    runs = draw(st.sampled_from(choice))
    environment = draw(ENVIRONMENTS)
    data = folder / "s3" if multi_model else draw(st.sampled_from([None, folder / "one.tar.gz"]))
    caching = Caching(enabled=draw(st.booleans())) if multi_model else Caching()
    return ContainerDefinition(runs, data, multi_model, hostname, environment, caching)


@st.composite
def models(draw: st.DrawFn) -> ModelDefinition:
    count = draw(st.integers(1, 4))
    direct = draw(st.booleans())
    hostnames = draw(st.lists(NAMES, min_size=count, max_size=count, unique=True))
    if not direct and draw(st.booleans()):
        hostnames = [""] * count
    multi = draw(st.integers(-1, count - 1))
    return ModelDefinition([draw(containers(n == multi, hostnames[n])) for n in range(count)], direct)


@st.composite
def endpoints(draw: st.DrawFn) -> list[EndpointDefinition]:
    made = draw(st.lists(models(), min_size=1, max_size=3))
    result = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique_by=str.lower)):
        variants = []
        for variant_name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
            model = draw(st.sampled_from(made))
            fitting_types = [
                each for each in sorted(instance_types()) if not (model.multi_model and unfit_for_many_models(each))
            ]
            chosen = instance_type(draw(st.sampled_from(fitting_types)))
            storage = local_disk_bytes(chosen.name) or draw(st.integers(1, 512)) * GIB
            variants.append(
                VariantDefinition(
                    model,
                    Resources(chosen.memory_bytes, storage, chosen.vcpus),
                    variant_name,
                    draw(st.integers(1, 1000)),
                    draw(st.floats(0, 1e9)),
                    draw(st.booleans()),
                    draw(st.none() | st.integers(60, 3600).map(float)),
                    chosen.name,
                )
            )
        result.append(EndpointDefinition(name, variants, region()))
    return result


def document_of(endpoints: list[EndpointDefinition]) -> dict[str, Any]:
    """The file that a person would have written for these endpoints."""
    document: dict[str, Any] = {"Models": [], "EndpointConfigs": [], "Endpoints": []}
    names: dict[int, str] = {}
    for number, endpoint in enumerate(endpoints):
        variants = []
        for variant in endpoint.variants:
            if id(variant.model) not in names:
                names[id(variant.model)] = f"model-{len(names)}"
                document["Models"].append(_model_document(names[id(variant.model)], variant.model))
            variants.append(_variant_document(names[id(variant.model)], variant))
        document["EndpointConfigs"].append({"EndpointConfigName": f"c{number}", "ProductionVariants": variants})
        document["Endpoints"].append({"EndpointName": endpoint.name, "EndpointConfigName": f"c{number}"})
    return document


def _model_document(name: str, model: ModelDefinition) -> dict[str, Any]:
    described = [_container_document(container) for container in model.containers]
    document: dict[str, Any] = {"ModelName": name, "Containers": described}
    if len(described) == 1 and not model.direct:
        document = {"ModelName": name, "PrimaryContainer": described[0]}
    if model.direct:
        document["InferenceExecutionConfig"] = {"Mode": "Direct"}
    return document


def _container_document(container: ContainerDefinition) -> dict[str, Any]:
    if isinstance(container.runs, Image):
        image = container.runs.reference
    elif container.runs.words[-2] == "--handler":
        image = "handler:" + Path(container.runs.words[-1]).name
    else:
        image = """command:sh -c "it's" """
    document: dict[str, Any] = {"Image": image, "Environment": dict(container.environment)}
    if container.multi_model:
        setting = "Enabled" if container.caching.enabled else "Disabled"
        document |= {"Mode": "MultiModel", "MultiModelConfig": {"ModelCacheSetting": setting}}
    if container.model_data:
        document["ModelDataUrl"] = container.model_data.name
    if container.hostname:
        document["ContainerHostname"] = container.hostname
    return document


def _variant_document(model_name: str, variant: VariantDefinition) -> dict[str, Any]:
    document: dict[str, Any] = {
        "VariantName": variant.name,
        "ModelName": model_name,
        "InstanceType": variant.instance_type,
        "InitialInstanceCount": variant.instance_count,
        "InitialVariantWeight": variant.weight,
    }
    if not local_disk_bytes(variant.instance_type):
        document["VolumeSizeInGB"] = variant.resources.storage_bytes // GIB
    if variant.least_outstanding:
        document["RoutingConfig"] = {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    if variant.startup_seconds:
        document["ContainerStartupHealthCheckTimeoutInSeconds"] = int(variant.startup_seconds)
    return document


@pytest.mark.parametrize(
    "dump",
    [
        functools.partial(yaml.safe_dump, sort_keys=False),
        functools.partial(yaml.safe_dump, allow_unicode=True, default_flow_style=None),
        json.dumps,
        functools.partial(json.dumps, indent=1, ensure_ascii=False),
    ],
    ids=["yaml", "yaml with unicode", "json", "json with unicode"],
)
@given(endpoints=endpoints())
@settings(max_examples=15, deadline=None)
def test_what_was_dumped_is_what_is_read(dump: Callable[..., str], endpoints: list[EndpointDefinition]) -> None:
    file = written(shared_folder(), dump(document_of(endpoints)))
    assert read(file) == endpoints


# As a command


def test_serve_tells_what_is_wrong_and_ends(folder: Path) -> None:
    file = written(folder, changed("0.9", "-1", "./s3", "./none"))
    result = localmme("serve", str(file))
    assert (result.returncode, result.stdout) == (1, "")
    first, second = result.stderr.splitlines()
    assert first.startswith(f"Error: {file}:6: PrimaryContainer.ModelDataUrl: there is no ")
    assert second == f"  {file}:21: ProductionVariants[0].InitialVariantWeight: must be at least 0, not -1"


@pytest.mark.parametrize("option", [["--models", "x"], ["--memory", "1GB"], ["--no-cache"], ["--env", "A=b"]])
def test_options_of_an_endpoint_do_not_go_beside_a_file(folder: Path, option: list[str]) -> None:
    result = localmme("serve", str(written(folder, GOOD)), *option)
    assert result.returncode == 1
    assert f"endpoint.yaml describes the endpoints: {option[0]} cannot be used with it." in result.stderr


def test_several_endpoints_of_one_file_are_served(folder: Path, serve: Callable[..., Emulator]) -> None:
    code = "def handle(data, context):\n    return [b'' if data is None else data[0]['body'] + {answer}]\n"
    archive(folder / "s3" / "a.tar.gz", {"code/inference.py": code.format(answer="b' from a'")})
    archive(folder / "single.tar.gz", {"code/inference.py": code.format(answer="b' from single'")})
    (folder / "add.py").write_text(code.format(answer="b' and added'"))
    file = written(
        folder,
        """\
Models:
  - {ModelName: many, PrimaryContainer: {Image: "handler:", Mode: MultiModel, ModelDataUrl: s3}}
  - ModelName: pipe
    Containers:
      - {Image: "handler:", ModelDataUrl: single.tar.gz}
      - {Image: handler:add.py}
EndpointConfigs:
  - {EndpointConfigName: many, ProductionVariants: [{VariantName: A, ModelName: many, InstanceType: ml.m5.large}]}
  - EndpointConfigName: pipe
    ProductionVariants:
      - {VariantName: B, ModelName: pipe}
      - {VariantName: C, ModelName: pipe, InitialVariantWeight: 0}
Endpoints:
  - {EndpointName: many, EndpointConfigName: many}
  - {EndpointName: pipe, EndpointConfigName: pipe}
""",
    )
    emulator = serve(str(file))
    eventually(lambda: len(emulator.output) == 2, what="both endpoints are InService")
    client = emulator.client()
    answer = client.invoke_endpoint(EndpointName="many", TargetModel="a.tar.gz", Body=b"hello")
    assert answer["Body"].read() == b"hello from a"
    for request, variant in [({}, "B"), ({"TargetVariant": "C"}, "C")]:
        answer = client.invoke_endpoint(EndpointName="pipe", Body=b"hello", **request)
        assert answer["Body"].read() == b"hello from single and added"
        assert answer["InvokedProductionVariant"] == variant


def test_the_keys_are_those_of_boto3() -> None:
    client = boto3.client("sagemaker", region_name="us-east-1")
    model = client.meta.service_model
    for section in endpoint_file.SECTIONS:
        operation = section.arguments.removesuffix("Input")
        assert model.operation_model(operation).input_shape.name == section.arguments
