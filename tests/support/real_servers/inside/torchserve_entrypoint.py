"""The entry point of AWS's PyTorch container: sagemaker-pytorch-inference, which starts TorchServe.

``python torchserve_entrypoint.py`` serves on ``$SAGEMAKER_BIND_TO_PORT``; the Python is one that has both.
"""

import alone
from sagemaker_pytorch_serving_container import serving, torchserve

if __name__ == "__main__":
    alone.take_over((torchserve, "TS_CONFIG_FILE"))
    with alone.SCRATCH:
        serving.main()
