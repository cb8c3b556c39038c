"""Access control, where it is asked for: who calls, and what the caller's policies allow."""
