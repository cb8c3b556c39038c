"""Files for ``localmme serve FILE``: what they describe, and what is said of what is wrong with them, and where."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import boto3
import psutil
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emulator.containers.launch import Command, Image, Stub
from emulator.data_capture import DataCapture
from emulator.errors import SetupError
from emulator.hosting.definition import (
    Caching,
    ContainerDefinition,
    EndpointDefinition,
    ModelDefinition,
    Resources,
    VariantDefinition,
)
from emulator.hosting.instance_types import resources_of
from emulator.services.sagemaker.image import embedded_server
from localmme import endpoint_file
from localmme.endpoint_file import MINIMAL_FILE
from tests.support.example_endpoint_file import GOOD, changed, example_folder, read, told, written

GIB = 1024**3
CAPTURE = """\
    DataCaptureConfig:
      InitialSamplingPercentage: 20
      DestinationS3Uri: s3://bucket/captured
      CaptureOptions: [{CaptureMode: Input}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return example_folder(tmp_path)


ROLE = "arn:aws:iam::123456789012:role/localmme"  # of models whose request names none

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
        ],
        role_arn=ROLE,
    )
    pipe = ModelDefinition(
        [
            ContainerDefinition(Image("my-image:1"), folder / "one.tar.gz", multi_model=False, hostname="before"),
            ContainerDefinition(Command(["sh", "./serve.sh"], folder), None, multi_model=False, hostname="after"),
        ],
        role_arn=ROLE,
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


def test_an_endpoint_of_a_file_captures_as_its_configuration_says(folder: Path) -> None:
    text = changed("    ProductionVariants:\n", CAPTURE + "    ProductionVariants:\n")
    [definition] = read(written(folder, text))
    assert definition.data_capture == DataCapture("bucket", "captured", 20, input=True, output=False)


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


def test_images_may_be_mapped(folder: Path) -> None:
    container = '{Image: "handler:handler.py"'
    text = MINIMAL_FILE.replace(container, "{Image: a.amazonaws.com/x") + '\nMapImages: {"a.*": "handler:handler.py"}\n'
    mapped = endpoint_file.read(written(folder, text)).mapped_images
    assert mapped.runs("a.amazonaws.com/x") == embedded_server(str(folder / "handler.py"))
    for mapping, words in (("{a: X}", "a takes a Docker image"), ("[a]", "must map patterns to images")):
        with pytest.raises(SetupError, match=f"endpoint.yaml:[0-9]+: MapImages.*{words}"):
            endpoint_file.read(written(folder, f"{MINIMAL_FILE}\nMapImages: {mapping}\n"))


def test_a_stub_needs_no_model_data(folder: Path) -> None:
    (folder / "stub.yaml").write_text("Answers: [{Text: a}]")
    container = '{Image: "handler:handler.py", Mode: MultiModel, ModelDataUrl: ./s3}'
    text = MINIMAL_FILE.replace(container, '{Image: "stub:stub.yaml", Mode: MultiModel}')
    [endpoint] = read(written(folder, text))
    [hosted] = endpoint.variants[0].model.containers
    assert (hosted.runs, hosted.model_data, hosted.multi_model) == (Stub(folder / "stub.yaml"), None, True)
    with pytest.raises(SetupError, match="There is no file nowhere.yaml with a stub's answers"):
        read(written(folder, text.replace("stub:stub", "stub:nowhere")))


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


def test_a_directory_may_stand_for_the_archive_of_its_name(folder: Path) -> None:
    (folder / "one.tar.gz").unlink()
    (folder / "one.tar.gz").mkdir()
    [endpoint] = read(written(folder, GOOD))
    assert endpoint.variants[1].model.containers[0].model_data == folder / "one.tar.gz"


def test_the_keys_are_those_of_boto3() -> None:
    client = boto3.client("sagemaker", region_name="us-east-1")
    model = client.meta.service_model
    for section in endpoint_file.SECTIONS:
        operation = section.arguments.removesuffix("Input")
        assert model.operation_model(operation).input_shape.name == section.arguments


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
            "8: PrimaryContainer.MultiModelConfig: needs Mode: MultiModel",
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
            "14: Models[2]: needs PrimaryContainer or Containers"
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
            "25: ProductionVariants[1].VariantName: is already used, on line 17"
        ]),
        (["ModelName: pipe\n    C", "ModelName: Many\n    C"], [
            "9: ModelName: is already used, on line 2",
            "26: ProductionVariants[1].ModelName: Models has no item named pipe",
        ]),
        (["Endpoints:\n", "Endpoints:\n  - {EndpointName: E, EndpointConfigName: both}\n"], [
            "29: EndpointName: is already used, on line 28"
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
            "7: PrimaryContainer.MultiModelConfig: needs Mode: MultiModel"
        ]),
        # What cannot be emulated
        (["{RoutingStrategy: LEAST_OUTSTANDING_REQUESTS}", "{RoutingStrategy: KV_AWARE}"], [
            "24: ProductionVariants[0].RoutingConfig.RoutingStrategy: must be RANDOM or LEAST_OUTSTANDING_REQUESTS, "
            'not "KV_AWARE": others are not emulated'
        ]),
        # The file's own shape
        (["EndpointConfigs:\n", "Stages: []\nEndpointConfigs:\n"], [
            "14: Stages: is not a key of this file: there are Models, EndpointConfigs, Endpoints, MapImages"
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
        # Data capture
        (["    ProductionVariants:\n", CAPTURE.replace("captured", "a//b") + "    ProductionVariants:\n"], [
            "18: DataCaptureConfig.DestinationS3Uri: cannot begin a key: a part between slashes is empty"
        ]),
        (["    ProductionVariants:\n", CAPTURE.replace("[{CaptureMode: Input}]", "[]") + "    ProductionVariants:\n"], [
            "19: DataCaptureConfig.CaptureOptions: must have at least 1 item, not 0"
        ]),
        # YAML, of which test_yaml_source shows more
        (["      Mode: MultiModel\n", "      Mode: MultiModel\n      Mode: MultiModel\n"], [
            "6: PrimaryContainer.Mode: is there twice: it is already on line 5"
        ]),
        (["      Mode: MultiModel\n", "\tMode: MultiModel\n"], ["5: a tab: YAML is indented by spaces only"]),
        (["{Mode: Serial}", "&a {<<: *a, Mode: Other}"], [
            '13: InferenceExecutionConfig.Mode: must be Serial or Direct, not "Other"'
        ]),
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
    (folder / "deep.yaml").write_text("[" * 1000)
    with pytest.raises(SetupError, match=r"deep.yaml:1: the file is nested too deeply"):
        read(folder / "deep.yaml")


@given(st.text(alphabet="[]{}:,-&*!|>'\"%@#? \n\tabM0", max_size=60), st.integers(0, len(GOOD)))
@settings(max_examples=40)
@example("&a [*a]", 8)
def test_no_text_within_it_brings_the_reader_down(noise: str, at: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            read(written(Path(folder), GOOD[:at] + noise + GOOD[at:]))
        except SetupError as error:
            assert str(error).startswith(f"{folder}/endpoint.yaml:")
