"""The AWS services beside SageMaker and S3 that its users need, answered by moto with the emulator's own data."""
