"""A model for Triton's Python backend. Its weights and bias are parameters in its configuration, config.pbtxt."""

import json

import numpy
import triton_python_backend_utils as triton


class TritonPythonModel:
    """The class that the backend looks for, by this name."""

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
        """The answer to one request."""
        if features.shape[1] != len(self.weights):
            problem = triton.TritonError(f"this model takes rows of {len(self.weights)} numbers")
            return triton.InferenceResponse(error=problem)
        return triton.InferenceResponse([triton.Tensor("PREDICTIONS", features @ self.weights + self.bias)])
