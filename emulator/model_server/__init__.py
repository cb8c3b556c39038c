"""A light server for Python handlers: the container that localmme brings along.

``python -m emulator.model_server`` keeps SageMaker's contracts for containers with many models and with a single
one. Its parts:

- ``__main__``     reads the arguments, starts the spawner, then the server
- ``run``          the server's life, until SIGTERM
- ``connection``   HTTP/1.1 on one connection
- ``server``       from a request to its action, and to its answer
- ``multi_model``  the contract for many models: which path and method does what
- ``single_model`` the contract for a single model, and its life
- ``models``       many models: load, find, unload
- ``model``        one model: its workers and the queue before them
- ``process``      one worker process as the server sees it
- ``spawner``      the process that forks the workers
- ``frames``       what goes between server and worker, on the wire
- ``worker``       the process of one worker
- ``service``      one request through a handler: what its result becomes
- ``parts``        what a handler is given of a request
- ``log``          what a worker says in the log
- ``context``      the ``context`` a handler is given
- ``metrics``      ``context.metrics``
- ``styles``       finds the handler and what style it is written in
- ``toolkit``      the style of ``model_fn`` and its kin
- ``content``      JSON, CSV and NPY, for that style
- ``answer``       what goes back to the caller
"""
