"""Runs an entry point as the frameworks' containers do: with the errors that it prints in the failure file."""

from __future__ import annotations

from sagemaker_training import entry_point, environment


def main() -> None:
    """What SAGEMAKER_TRAINING_MODULE names."""
    env = environment.Environment()
    entry_point.run(env.module_dir, env.user_entry_point, env.to_cmd_args(), env.to_env_vars(), capture_error=True)
