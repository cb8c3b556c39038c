"""The same training job by the SageMaker SDK 2's local mode and on the emulator.

``python local_mode.py IMAGE COMPOSE OUTPUT``: COMPOSE is a JSON list of words, a command that takes a compose file in
the place of ``docker compose up``. Input and output are in S3. Prints where the models are as one line of JSON.
"""

import json
import os
import sys

import sagemaker
from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession
from sagemaker.local.image import DOCKER_COMPOSE_FILENAME, _SageMakerContainer

image, compose, output = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
_SageMakerContainer._get_compose_cmd_prefix = staticmethod(lambda: compose)
_SageMakerContainer._compose = lambda self, detached=False: [
    *compose,
    os.path.join(self.container_root, DOCKER_COMPOSE_FILENAME),
]


def trained(instance_type: str, session: sagemaker.Session) -> str:
    """Where the model is."""
    estimator = Estimator(
        image,
        sagemaker.get_execution_role(),
        1,
        instance_type,
        output_path=f"{output}/{instance_type}",
        hyperparameters={"epochs": 3, "loss": "mse"},
        environment={"OWN": "1"},
        sagemaker_session=session,
    )
    estimator.fit({"train": f"{output}/data/"}, wait=True, logs=False)
    return estimator.model_data


models = [trained("local", LocalSession()), trained("ml.m5.large", sagemaker.Session())]
print("\n" + json.dumps(models))
