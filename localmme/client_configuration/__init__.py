"""What clients find by their environment, once ``localmme env`` has put this directory on the path of their Python."""
