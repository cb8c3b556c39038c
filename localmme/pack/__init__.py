"""``localmme pack``: makes model archives that work, and verifies archives made elsewhere."""
