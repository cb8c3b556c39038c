"""How a container runs, and how it is called."""
