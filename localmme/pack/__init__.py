"""``localmme pack``: makes model archives that work, and tells of archives made elsewhere whether they do."""
