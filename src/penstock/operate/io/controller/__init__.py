"""The controller in a cluster: kopf tells of changes, a worker for each Fleet makes the cluster as it says."""

from penstock.operate.io.controller.operator import Controller

__all__ = ["Controller"]
