"""A transform job whose model is an image on the Docker Engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docker
import pytest

from emulator.containers.docker.leftovers import OWNER_LABEL
from tests.support.control_plane import ROLE
from tests.support.emulator_in_process import InProcessEmulator
from tests.support.files import archive
from tests.support.real_servers.images import FROM, Images
from tests.support.waiting import eventually

pytestmark = pytest.mark.docker

SERVE = f"""{FROM}
COPY serve /usr/local/bin/serve
"""
# It answers with its model, and with variables of the platform; for a record "wait", not at all.
SERVER = """#!/usr/bin/env python3
import http.server, os, signal, threading

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(b'{"BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 1}')

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"wait":
            print("waits", flush=True)
            threading.Event().wait()
        model = open("/opt/ml/model/model.txt", "rb").read()
        self.answer(b" ".join([model, body, os.environ["SAGEMAKER_BATCH"].encode(), os.environ["MINE"].encode()]))

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


def test_an_image_transforms_as_it_says_it_wants_to_and_is_gone_when_the_job_is_stopped(
    images: Images, engine: docker.DockerClient, tmp_path: Path
) -> None:
    bucket = tmp_path / "s3" / "b"
    archive(bucket / "model.tar.gz", {"model.txt": "model"})
    (bucket / "data").mkdir()
    (bucket / "data" / "a").write_text("1\n2\n")
    (bucket / "data" / "b").write_text("wait\n")
    emulator = InProcessEmulator("--no-endpoint", "--s3", str(bucket.parent), state=tmp_path / "state").wait_ready()
    try:
        sagemaker = emulator.client_of("sagemaker")
        container = {
            "Image": images.build("transform", SERVE, {"serve": SERVER}),
            "ModelDataUrl": "s3://b/model.tar.gz",
        }
        sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container)
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/data/"}}
        request: dict[str, Any] = {
            "TransformInput": {"DataSource": source, "SplitType": "Line"},
            "TransformOutput": {"S3OutputPath": "s3://b/out", "AssembleWith": "Line"},
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        }
        sagemaker.create_transform_job(TransformJobName="j", ModelName="m", Environment={"MINE": "1"}, **request)
        eventually(lambda: "j | waits" in emulator.log)
        assert (bucket / "out" / "a.out").read_text() == "model 1 true 1\nmodel 2 true 1\n"
        filters = {"label": f"{OWNER_LABEL}={emulator.state_directory.resolve()}"}
        assert len(engine.containers.list(filters=filters)) == 1
        sagemaker.stop_transform_job(TransformJobName="j")
        sagemaker.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName="j")
        assert sagemaker.describe_transform_job(TransformJobName="j")["TransformJobStatus"] == "Stopped"
        assert engine.containers.list(all=True, filters=filters, ignore_removed=True) == []
    finally:
        emulator.stop()
