"""Listeners to the event stream: the terminal, CloudWatch metrics, and the containers' output."""
