"""Tests of a whole emulator as a process of its own."""
