"""Real servers that the tests talk to, one module for each.

Every module has a frozen dataclass with all that a client needs to know, and a context manager ``serve(directory)``
that starts the server, yields those facts and stops the server again. A server that is not installed raises
:class:`~tests.servers.processes.ServerMissingError`; :func:`~tests.servers.processes.require` turns that into a skip,
or into a failure in continuous integration, so that nothing is left out there unseen.

Servers listen on 127.0.0.1 only, keep their files in the given directory, and end with the test run, however that ends.
"""
