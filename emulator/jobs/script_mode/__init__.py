"""Script mode: runs a user's own entry point as SageMaker's training toolkit does, in a process of its own."""
