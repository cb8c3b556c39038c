"""Real model servers as plain processes: what SageMaker's own containers run.

What runs in the servers' own Pythons is in ``inside/``, apart from the rest, because the folder of a script and of a
handler comes first among the modules that can be imported there.
"""
