"""The emulator's own pages, under ``/_localmme/``."""
