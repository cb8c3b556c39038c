"""``python -m localmme``: runs ``localmme``."""

from localmme.cli.main import main

main(prog_name="localmme")
