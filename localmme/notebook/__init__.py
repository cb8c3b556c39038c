"""IPython's magic ``%localmme``: an emulator that belongs to a notebook, and handlers that are written in its cells."""
