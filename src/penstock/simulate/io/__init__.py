"""Where the simulate wing touches sockets and files: the engine as a server, the load client, traces."""
