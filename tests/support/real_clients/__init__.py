"""The clients that people really use, unmodified: the SageMaker Python SDKs, the AWS CLI, notebooks.

What runs in the SDKs' own Pythons is in ``inside/``.
"""
