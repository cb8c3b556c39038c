"""The entry point of a container with Multi Model Server, which the SageMaker Inference Toolkit starts.

``python mms_entrypoint.py HANDLER`` serves on ``$SAGEMAKER_BIND_TO_PORT``; the Python is one that has both. In a
container the server has /etc, /tmp and the process table to itself, which the toolkit takes for granted; here it gets a
directory of its own and is told which server is its own, so that it needs no root and several can run on one machine.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# The toolkit reads these when it is imported.
SCRATCH = tempfile.TemporaryDirectory(prefix="mms-")
os.environ.update(
    PATH=f"{sys.prefix}/bin:{os.environ.get('PATH', os.defpath)}",
    TMPDIR=SCRATCH.name,
    TEMP=SCRATCH.name,
    LOG_LOCATION=SCRATCH.name,
    METRICS_LOCATION=SCRATCH.name,
)

import psutil  # noqa: E402
from sagemaker_inference import model_server  # noqa: E402

CONFIGURATION = str(Path(SCRATCH.name, "mms.properties"))
every_process = psutil.process_iter


def own_processes() -> Iterator[psutil.Process]:
    """The processes that were started with this server's configuration."""
    for process in every_process():
        try:
            if CONFIGURATION in process.cmdline():
                yield process
        except psutil.Error:  # it has just ended
            continue


def main() -> None:
    """Serve until the server ends."""
    model_server.MMS_CONFIG_FILE = CONFIGURATION
    psutil.process_iter = own_processes
    os.chdir(SCRATCH.name)
    with SCRATCH:
        model_server.start_model_server(handler_service=sys.argv[1])


if __name__ == "__main__":
    main()
