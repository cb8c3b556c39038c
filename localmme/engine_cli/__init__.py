"""``docker``, ``podman`` and ``finch`` in front of the real ones on the PATH: they answer for the emulator's ECR."""
