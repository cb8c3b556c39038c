"""How many files and connections this process may have open, and the message when there are too many."""

from __future__ import annotations

import contextlib
import errno
import os
import resource

WANTED = 65_536  # [ours] far more than the emulator needs, and no more than programs that it starts can count
FEW = 1024  # [ours] the limit that most shells have: with less, a few hundred callers are too many
SPARE = 32  # [ours] so many are left for what is under way when new callers are refused
EXHAUSTED = (errno.EMFILE, errno.ENFILE)


def raise_limit() -> int:
    """Raise the soft limit to WANTED, or as far as the hard one lets it; what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # a system may have another limit, which it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return WANTED if soft == resource.RLIM_INFINITY else soft


def is_nearly_exhausted() -> bool:
    """Whether few more than SPARE can be opened: a new descriptor gets the lowest number that is free."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        free = os.open(os.devnull, os.O_RDONLY)
    except OSError as error:
        return error.errno in EXHAUSTED
    os.close(free)
    return limit != resource.RLIM_INFINITY and free > limit - SPARE


def too_many() -> str:
    """What to say of an error that is EXHAUSTED."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"The emulator has too many files and connections open. Start it where more are allowed: ulimit -n is {limit}"
    )
