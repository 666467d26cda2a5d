"""The usage ledger of a gateway: its journal on this machine's disk, and how it gets into the store."""

from penstock.serve.io.ledger.ledger import Ledger, LedgerState
from penstock.serve.io.ledger.reading import read_usage, read_waiting

__all__ = ["Ledger", "LedgerState", "read_usage", "read_waiting"]
