"""Tests of a whole emulator in the test's own process, whose containers are processes."""
