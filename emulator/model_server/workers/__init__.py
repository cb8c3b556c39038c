"""The processes in which models run: how they are forked, get invocations over a socket, are watched and end."""
