"""Files for AWS clients, which find them because ``localmme env`` puts this directory on the path of their Python."""
