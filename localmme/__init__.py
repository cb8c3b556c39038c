"""Run SageMaker multi-model endpoints on your own machine."""

__version__ = "0.1.0"
