"""The HTTP side of the model server: connections, routes of the two contracts, and who may call."""
