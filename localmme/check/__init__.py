"""``localmme check``: does a container keep the contract of multi-model endpoints?"""
