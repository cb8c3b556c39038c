"""A model's own code: found, loaded, and called as Multi Model Server and the SageMaker Inference Toolkit do."""
