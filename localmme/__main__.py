"""``python -m localmme``: the same as ``localmme``."""

from localmme.cli.main import main

main(prog_name="localmme")
