"""Model stores: what a revision's folder holds, when it is whole, what to fetch, keep and back up. Pure."""

from penstock.operate.storage.collecting import Entry, Verdict, Wish, decide
from penstock.operate.storage.layout import MARKER, EntryKind, entry_kind, lock_name, model_folder, partial_name
from penstock.operate.storage.listing import Listing, RemoteFile, Wanted, files_wanted
from penstock.operate.storage.locks import Lock, Watch
from penstock.operate.storage.pulling import FetchPlan, Interrupted, disk_shortage, plan_fetches, shown_bytes
from penstock.operate.storage.record import FileRecord, ModelRecord, parse_record
from penstock.operate.storage.source import ModelSource, Scheme, parse_source, safe_name
from penstock.operate.storage.vault import BackupPlan, plan_backup
from penstock.operate.storage.verification import Finding, Seen, Severity, Snapshot, has_errors, verify_record

__all__ = [
    "MARKER",
    "BackupPlan",
    "Entry",
    "EntryKind",
    "FetchPlan",
    "FileRecord",
    "Finding",
    "Interrupted",
    "Listing",
    "Lock",
    "ModelRecord",
    "ModelSource",
    "RemoteFile",
    "Scheme",
    "Seen",
    "Severity",
    "Snapshot",
    "Verdict",
    "Wanted",
    "Watch",
    "Wish",
    "decide",
    "disk_shortage",
    "entry_kind",
    "files_wanted",
    "has_errors",
    "lock_name",
    "model_folder",
    "parse_record",
    "parse_source",
    "partial_name",
    "plan_backup",
    "plan_fetches",
    "safe_name",
    "shown_bytes",
    "verify_record",
]
