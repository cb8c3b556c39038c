"""``python -m localmme``: the same as ``localmme``."""

from localmme.cli import main

main(prog_name="localmme")
