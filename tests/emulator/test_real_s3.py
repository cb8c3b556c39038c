"""What models in real S3 do to the emulator's own process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.emulator_process import Emulator
from tests.support.models_in_s3 import MEGABYTE, NOTHING, large, settings
from tests.support.processes import most_memory
from tests.support.s3_servers import served
from tests.support.scripted_models import Journal, scripted_arguments


def test_a_large_archive_takes_little_memory(serve: Callable[..., Emulator], journal: Journal, tmp_path: Path) -> None:
    bucket = tmp_path / "real" / "s3" / "models"
    bucket.mkdir(parents=True)
    for name, megabytes in (("small", 8), ("large", 200)):
        (bucket / f"{name}.tar.gz").write_bytes(large(megabytes))
    with served(tmp_path / "real") as s3:
        emulator = serve(*scripted_arguments("s3://models", journal, {}), environment=settings(s3.url))
        emulator.invoke("small.tar.gz")
        with most_memory(emulator.worker()) as grown:
            assert emulator.invoke("large.tar.gz")["answer"] == "large"
    assert grown.bytes < 24 * MEGABYTE


def test_neither_boto3_nor_botocore_is_imported_before_s3_is_asked() -> None:
    code = """
import sys
from emulator.archives.source_selection import source_of_many
from emulator.archives.model_data_url import S3Url
import emulator.server.gunicorn_app, localmme.cli.main, localmme.server_setup, localmme.endpoint_options
import emulator.services.sagemaker.app, emulator.services.sagemaker.endpoints_at_start

bucket = source_of_many(S3Url("models"))
print([name for name in ("boto3", "botocore", "s3transfer") if name in sys.modules])
try:
    bucket.check()
except Exception as error:
    print(type(error).__name__, "boto3" in sys.modules)
"""
    environment = {**os.environ, **NOTHING, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert ran.stdout == "[]\nSetupError True\n", ran.stderr
