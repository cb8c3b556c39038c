"""A container that is none: answers from a file, by the request that they are for."""
