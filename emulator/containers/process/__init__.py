"""Containers as local process trees, each below a keeper that ends it with the emulator."""
