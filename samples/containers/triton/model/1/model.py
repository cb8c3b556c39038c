"""A model for Triton's Python backend: the weights and the bias of the other samples, which its configuration has."""

import json

import numpy
import triton_python_backend_utils as triton


class TritonPythonModel:
    """What the backend looks for."""

    def initialize(self, args):
        """Load the model. An exception with "out of memory" in it is a 507 to SageMaker."""
        parameters = json.loads(args["model_config"])["parameters"]
        settings = {name: json.loads(parameter["string_value"]) for name, parameter in parameters.items()}
        self.weights = numpy.array(settings["weights"], numpy.float32)
        self.bias = numpy.float32(settings["bias"])

    def execute(self, requests):
        """Answer a batch of requests."""
        return [self.answer(triton.get_input_tensor_by_name(request, "FEATURES").as_numpy()) for request in requests]

    def answer(self, features):
        """The answer to one of them."""
        if features.shape[1] != len(self.weights):
            problem = triton.TritonError(f"this model takes rows of {len(self.weights)} numbers")
            return triton.InferenceResponse(error=problem)
        return triton.InferenceResponse([triton.Tensor("PREDICTIONS", features @ self.weights + self.bias)])
