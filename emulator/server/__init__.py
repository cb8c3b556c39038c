"""The HTTP faces of the emulated services."""
