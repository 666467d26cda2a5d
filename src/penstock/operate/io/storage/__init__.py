"""Model stores on real disks, hubs, object stores and registries."""

from penstock.operate.io.storage.backup import BackedUp, backup, restore
from penstock.operate.io.storage.look import read_marker, snapshot
from penstock.operate.io.storage.pull import Pull, Pulled, PullOptions
from penstock.operate.io.storage.sources import open_source, open_vault
from penstock.operate.io.storage.store import Stored, published, remove, scan, server_now
from penstock.operate.io.storage.transfer import Progress, Stop

__all__ = [
    "BackedUp",
    "Progress",
    "Pull",
    "PullOptions",
    "Pulled",
    "Stop",
    "Stored",
    "backup",
    "open_source",
    "open_vault",
    "published",
    "read_marker",
    "remove",
    "restore",
    "scan",
    "server_now",
    "snapshot",
]
