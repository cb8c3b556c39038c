"""A light multi-model server for Python handlers: the container that localmme brings along."""
