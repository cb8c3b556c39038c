"""The directory that stands for S3, without HTTP: which file a key is, records of objects, listings, uploads."""
