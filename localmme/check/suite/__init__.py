"""The checks, by topic. Each is a coroutine that takes a Harness, tries something, and returns its Finding."""
