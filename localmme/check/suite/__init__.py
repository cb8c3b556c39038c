"""The checks, by topic. Each is a coroutine that gets a Harness and returns a Finding."""
