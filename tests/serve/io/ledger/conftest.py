"""The stores of `stores`: each claim is made of SQLite and of PostgreSQL."""

from __future__ import annotations

from serve.io.stores.conftest import postgres, store_address

__all__ = ["postgres", "store_address"]
