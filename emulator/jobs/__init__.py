"""What SageMaker does for jobs on data from S3: training, in containers that run to their end, and batch transform."""
