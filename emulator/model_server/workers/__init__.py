"""The processes in which models run: forked, fed with jobs over a socket, watched, ended."""
