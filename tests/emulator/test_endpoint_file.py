"""``localmme serve FILE`` as a command; what files may say is in ``unit/localmme/test_endpoint_file.py``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import localmme
from tests.support.emulator_process import Emulator
from tests.support.example_endpoint_file import GOOD, changed, example_folder, written
from tests.support.files import archive
from tests.support.waiting import eventually


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return example_folder(tmp_path)


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
