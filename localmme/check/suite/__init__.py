"""The checks, by subject. Each is a coroutine that takes a Bench, with one model or several to try, and finds."""
