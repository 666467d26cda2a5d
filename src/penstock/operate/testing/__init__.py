"""A Kubernetes API server for tests, as a value: no socket, no clock. `testing.io.server` puts it on a port."""

from penstock.operate.testing.access import User
from penstock.operate.testing.cluster import Cluster
from penstock.operate.testing.faults import Faults, Logged
from penstock.operate.testing.requests import Answer, Request
from penstock.operate.testing.status import Refusal

__all__ = ["Answer", "Cluster", "Faults", "Logged", "Refusal", "Request", "User"]
