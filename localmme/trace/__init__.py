"""Reads recordings of ``serve --record``, and summarises them."""
