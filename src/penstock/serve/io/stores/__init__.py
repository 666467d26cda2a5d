"""The store of keys: a SQLite file or a PostgreSQL database, the watch on it, and what outlives its absence."""

from penstock.serve.io.stores.address import StoreAddress
from penstock.serve.io.stores.desk import KeyDesk, MadeKey
from penstock.serve.io.stores.keys import KeyStore
from penstock.serve.io.stores.snapshot import Snapshot
from penstock.serve.io.stores.watch import KeyWatch

__all__ = ["KeyDesk", "KeyStore", "KeyWatch", "MadeKey", "Snapshot", "StoreAddress"]
