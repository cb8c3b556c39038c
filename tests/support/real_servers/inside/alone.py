"""A directory of its own for a server that is started here by a toolkit of AWS's.

In a container such a server has /etc, /tmp and the process table to itself, which the toolkits take for granted. Here
it is told where its configuration is, and sees no other server's processes, so that it needs no root and several can
run on one machine. To be imported before the toolkit, which reads the environment then.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

SCRATCH = tempfile.TemporaryDirectory(prefix="server-")
CONFIGURATION = str(Path(SCRATCH.name, "server.properties"))
os.environ.update(
    PATH=f"{sys.prefix}/bin:{os.environ.get('PATH', os.defpath)}",
    TMPDIR=SCRATCH.name,
    TEMP=SCRATCH.name,
    LOG_LOCATION=SCRATCH.name,
    METRICS_LOCATION=SCRATCH.name,
    # A test's server answers too few requests for the JVM's optimizing compiler to be worth its processor time.
    JAVA_TOOL_OPTIONS="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
)

import psutil  # noqa: E402

every_process = psutil.process_iter


def own_processes() -> Iterator[psutil.Process]:
    """The processes that were started with this server's configuration."""
    for process in every_process():
        try:
            if CONFIGURATION in process.cmdline():
                yield process
        except psutil.Error:  # it has just ended
            continue


def take_over(*configured: tuple[ModuleType, str]) -> None:
    """Have toolkits' modules, of which each has a constant of that name for the configuration, use the directory."""
    for module, constant in configured:
        setattr(module, constant, CONFIGURATION)
    psutil.process_iter = own_processes  # type: ignore[assignment]
    os.chdir(SCRATCH.name)
