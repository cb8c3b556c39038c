"""Starts Multi Model Server by the SageMaker Inference Toolkit, which reads SageMaker's environment variables."""

import signal
import sys
from pathlib import Path

# The toolkit handles SIGTERM only after it has found the server's process. Before that, process 1 of a container would
# ignore the signal.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

from sagemaker_inference import model_server  # noqa: E402

if __name__ == "__main__":
    handler = Path(__file__).with_name("model_handler.py")
    model_server.start_model_server(handler_service=f"{handler}:handle")
