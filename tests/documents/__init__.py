"""Tests of what the documentation says, by doing it."""
