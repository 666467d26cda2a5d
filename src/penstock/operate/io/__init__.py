"""Where the operate wing touches this machine: processes, folders, readiness."""
