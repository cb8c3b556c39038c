"""One port for all services: what a request is for, whether its caller may make it, and who serves it."""
