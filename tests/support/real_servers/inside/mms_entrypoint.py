"""The entry point of a container with Multi Model Server, which the SageMaker Inference Toolkit starts.

``python mms_entrypoint.py HANDLER`` serves on ``$SAGEMAKER_BIND_TO_PORT``; the Python is one that has both.
"""

import sys

import alone
from sagemaker_inference import model_server

if __name__ == "__main__":
    alone.take_over((model_server, "MMS_CONFIG_FILE"))
    with alone.SCRATCH:
        model_server.start_model_server(handler_service=sys.argv[1])
