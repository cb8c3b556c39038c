"""The AWS services: each is an ASGI application, with its operations, permissions and errors."""
