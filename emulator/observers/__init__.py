"""Listeners to the event stream: the terminal, CloudWatch metrics, the last lines of containers."""
