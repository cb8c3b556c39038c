"""``localmme top``: an emulator's models, memory and events, live in a terminal."""
