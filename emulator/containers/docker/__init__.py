"""Containers of Docker images: the engine, its images, and what it reports of a container."""
