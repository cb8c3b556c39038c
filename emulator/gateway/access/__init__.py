"""Access control, with ``--access``: who calls, and what the caller's policies allow."""
