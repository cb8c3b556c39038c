"""The addresses of this machine."""

from __future__ import annotations

import socket

import psutil

OF_DOCKER = ("br-", "docker", "veth")  # interfaces, which come and go with other tests' networks


def own_addresses() -> list[str]:
    """Those of version 4, except in networks of a Docker Engine."""
    interfaces = {name: found for name, found in psutil.net_if_addrs().items() if not name.startswith(OF_DOCKER)}
    every = [each for found in interfaces.values() for each in found]
    return [each.address for each in every if each.family == socket.AF_INET]
