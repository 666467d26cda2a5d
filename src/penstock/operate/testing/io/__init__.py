"""The fake API server on a port: HTTP, streams of watches, kubeconfig files."""

from penstock.operate.testing.io.server import ApiServer, running_api_server

__all__ = ["ApiServer", "running_api_server"]
