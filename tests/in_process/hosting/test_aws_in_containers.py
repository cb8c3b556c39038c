"""Code in a container calls AWS as on SageMaker: without any configuration, with its execution role's credentials."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.asks_aws import HANDLER, SEEN, SERVER
from tests.support.files import archive

READS = """
import boto3
from botocore.exceptions import ClientError

def read(key):
    try:
        return boto3.client("s3").get_object(Bucket="models", Key=key)["Body"].read().decode()
    except ClientError as error:
        return error.response["Error"]["Code"]

def model_fn(directory):
    return None

def predict_fn(data, model):
    return [read("allowed"), read("other")]
"""
ANYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
JSON = {"ContentType": "application/json"}


@pytest.mark.parametrize("kind", ["handler", "command"])
def test_boto3_finds_region_endpoint_and_credentials(
    serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # The user's own settings, none of which must count.
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = MINE\naws_secret_access_key = mine\n"
    )
    (tmp_path / ".aws" / "config").write_text("[default]\nregion = eu-west-1\nendpoint_url = http://127.0.0.1:9\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    archive(tmp_path / "s3" / "models" / "a.tar.gz", {"weights": "1"})
    (tmp_path / "s3" / "features").mkdir()
    (tmp_path / "s3" / "features" / "feature.txt").write_text("0.25")
    (code := tmp_path / "code.py").write_text(HANDLER if kind == "handler" else SERVER)
    runs = ["--handler", str(code)] if kind == "handler" else ["--command", f"{sys.executable} {code}"]
    emulator = serve("--models", str(tmp_path / "s3" / "models"), "--s3", str(tmp_path / "s3"), *runs)
    assert emulator.invoke("a.tar.gz") == [SEEN, SEEN]


def test_the_code_of_a_model_may_be_in_s3(serve, tmp_path: Path) -> None:
    """As SageMaker's Python SDK has it: uploaded on its own, and named by two variables."""
    code = "def model_fn(directory): return None\ndef predict_fn(data, model): return str(data.dtype)\n"
    archive(tmp_path / "s3" / "code" / "sourcedir.tar.gz", {"entry.py": code})
    archive(tmp_path / "s3" / "models" / "a.tar.gz", {"weights": "1"})
    variables = ("SAGEMAKER_SUBMIT_DIRECTORY=s3://code/sourcedir.tar.gz", "SAGEMAKER_PROGRAM=entry.py")
    environment = [f"--env={variable}" for variable in variables]
    models = ["--models", str(tmp_path / "s3" / "models"), "--s3", str(tmp_path / "s3")]
    assert serve(*models, *environment, "--toolkit", "sklearn").invoke("a.tar.gz", b"[1]") == "float32"


def test_code_that_is_not_in_s3_fails_the_endpoint_with_the_reason(start, tmp_path: Path) -> None:
    archive(tmp_path / "s3" / "models" / "a.tar.gz", {"weights": "1"})
    models = ["--models", str(tmp_path / "s3" / "models"), "--s3", str(tmp_path / "s3")]
    emulator = start(*models, "--env", "SAGEMAKER_SUBMIT_DIRECTORY=s3://models/code.tar.gz")
    emulator.wait()
    assert any("code.tar.gz cannot be fetched" in line and "404" in line for line in emulator.errors)


def test_a_handler_that_misses_a_variable_of_the_shell_is_explained(
    serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    fails = "import os\nNAME = 'HF_' + 'TOKEN'\ndef model_fn(directory):\n    return os.environ[NAME]\n"
    archive(tmp_path / "models" / "a.tar.gz", {"code/inference.py": fails})
    emulator = serve("--models", str(tmp_path / "models"))
    with pytest.raises(emulator.client().exceptions.ModelError, match="KeyError: 'HF_TOKEN'"):
        emulator.invoke("a.tar.gz")
    (warning,) = [line for line in emulator.errors if "--inherit-env" in line]
    assert "HF_TOKEN is set in the shell of localmme serve" in warning and "secret" not in warning


def test_with_access_control_the_execution_roles_permissions_count(serve, tmp_path: Path) -> None:
    policies = {
        "Users": [{"UserName": "me", "AccessKeyId": "ME", "SecretAccessKey": "secret", "Statement": ANYTHING}],
        "Roles": [
            {
                "RoleName": "localmme",
                "AssumeRolePolicyDocument": {
                    "Statement": {
                        "Effect": "Allow",
                        "Principal": {"Service": "sagemaker.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                    }
                },
                "Statement": {**ANYTHING, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::models/allowed"},
            }
        ],
    }
    (tmp_path / "access.yaml").write_text(yaml.safe_dump(policies))
    archive(tmp_path / "s3" / "models" / "a.tar.gz", {"code/inference.py": READS})
    for name in ("allowed", "other"):
        (tmp_path / "s3" / "models" / name).write_text(name)
    models = ["--models", str(tmp_path / "s3" / "models"), "--s3", str(tmp_path / "s3")]
    emulator = serve(*models, "--access", str(tmp_path / "access.yaml"))
    runtime = emulator.client_of("sagemaker-runtime", access_key="ME", secret_key="secret")
    answer = runtime.invoke_endpoint(EndpointName="local", TargetModel="a.tar.gz", Body=b"[]", **JSON)
    assert json.load(answer["Body"]) == ["allowed", "AccessDenied"]
