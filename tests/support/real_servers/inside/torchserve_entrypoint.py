"""The entry point of AWS's PyTorch container: sagemaker-pytorch-inference, which starts TorchServe.

``python torchserve_entrypoint.py`` serves on ``$SAGEMAKER_BIND_TO_PORT``; the Python is one that has both. Its other
ports, which are always the same ones in a container, are taken from ``$SAGEMAKER_SAFE_PORT_RANGE``: another TorchServe
may run on the machine.
"""

import os

import alone
from sagemaker_pytorch_serving_container import serving, torchserve

if __name__ == "__main__":
    first = int(os.environ["SAGEMAKER_SAFE_PORT_RANGE"].partition("-")[0])
    os.environ["TS_METRICS_ADDRESS"] = f"http://127.0.0.1:{first}"
    os.environ["TS_GRPC_INFERENCE_PORT"] = str(first + 1)
    os.environ["TS_GRPC_MANAGEMENT_PORT"] = str(first + 2)
    alone.take_over((torchserve, "TS_CONFIG_FILE"))
    with alone.SCRATCH:
        serving.main()
