"""Real model servers as plain processes: what SageMaker's own containers run."""
