"""Tests of the services as ASGI applications in the test's own process."""
