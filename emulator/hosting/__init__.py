"""What SageMaker hosting does behind its API."""
