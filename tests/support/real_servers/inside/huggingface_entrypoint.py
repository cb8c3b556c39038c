"""The entry point of AWS's Hugging Face container: its toolkit, which starts Multi Model Server.

``python huggingface_entrypoint.py`` serves on ``$SAGEMAKER_BIND_TO_PORT``; the Python is one that has both.
"""

import alone
from sagemaker_huggingface_inference_toolkit import mms_model_server, serving
from sagemaker_inference import model_server

if __name__ == "__main__":
    alone.take_over((model_server, "MMS_CONFIG_FILE"), (mms_model_server, "MMS_CONFIG_FILE"))
    with alone.SCRATCH:
        serving.main()
