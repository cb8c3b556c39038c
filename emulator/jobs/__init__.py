"""What SageMaker does for training and transform jobs: containers that run to their end, on data from S3."""
