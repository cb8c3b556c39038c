"""The directory that stands for S3, without HTTP: which file a key is, what is known of objects, listings, uploads."""
