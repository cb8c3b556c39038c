"""The HTTP side of the model server: connections, the routes of both contracts, and which callers are accepted."""
