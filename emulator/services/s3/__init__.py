"""S3 over a plain directory: each directory in it is a bucket, each file below that is an object."""
