"""The model that Triton runs: it multiplies its input by the factor in its configuration."""

import json
from typing import Any

import numpy
import triton_python_backend_utils as triton


class TritonPythonModel:
    """What Triton's Python backend looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Take the factor and the ballast, or run out of memory as the configuration asks."""
        parameters = json.loads(args["model_config"])["parameters"]
        settings = {name: float(parameter["string_value"]) for name, parameter in parameters.items()}
        if settings["out_of_memory"]:
            raise MemoryError("out of memory: this model does not fit")
        self.factor = numpy.float32(settings["factor"])
        self.ballast = b"\x01" * (int(settings["megabytes"]) * 2**20)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request."""
        return [self.multiply(triton.get_input_tensor_by_name(request, "INPUT")) for request in requests]

    def multiply(self, tensor: Any) -> Any:
        """The answer to one input."""
        return triton.InferenceResponse([triton.Tensor("OUTPUT", tensor.as_numpy() * self.factor)])
