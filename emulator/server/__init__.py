"""The emulator's process: gunicorn, its worker, callers' connections, and the application that connects all rooms."""
