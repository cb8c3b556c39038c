"""A light model server for Python handlers: localmme's own container.

``python -m emulator.model_server`` keeps SageMaker's contracts for multi-model and for single-model containers. Three
kinds of process run its code:

- the server: ``http/`` and, for each worker that it uses, ``workers/worker_process.py``
- the spawner, which forks the workers: ``workers/spawner.py``
- the workers, one or more for each model: ``workers/worker.py``, which calls the model's code through ``handlers/``
"""
