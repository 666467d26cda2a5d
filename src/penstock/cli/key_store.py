"""Where a fleet keeps the keys that its file does not name, for `up`, `gateway`, `keys` and `tenants` alike.

The default is `keys.db` in the state folder (`cli.state` says which that is): nothing is made, opened or even imported
before `penstock keys` has made it. Databases are imported here, when one is used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.cli.state import state_folder
from penstock.errors import PenstockError
from penstock.serve.sources import SecretReader, read_source
from penstock.spec import Fleet, GatewaySpec, sqlite_path

if TYPE_CHECKING:  # SQLAlchemy costs 0.2 s to import, and a fleet without a store needs none
    from penstock.serve.io.ledger import Ledger
    from penstock.serve.io.stores import KeyDesk, KeyStore, KeyWatch, Snapshot
    from penstock.serve.io.stores.shelf import SharedShelf
    from penstock.serve.io.stores.snapshot import KnownKeys
    from penstock.serve.io.stores.usage import UsageStore

__all__ = [
    "SECRETS_VARIABLE",
    "StorePlace",
    "admin_token",
    "open_desk",
    "open_ledger",
    "open_shelf",
    "open_usage",
    "open_watch",
    "secret_reader",
    "store_password",
    "store_place",
]

SECRETS_VARIABLE = "PENSTOCK_SECRETS_DIR"
"""Environment variable with the folder whose files SECRET/KEY hold what `secretKeyRef` means; rendered pods set it."""
TOKEN_CHARS_MIN = 16
"""A shorter admin token could be guessed."""
_SECRET_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlace:
    """Where the store and the snapshot are. Nothing here is opened."""

    url: str
    folder: Path
    """The fleet file's folder."""
    snapshot: Path
    is_asked: bool
    """Whether the fleet file names the store."""

    @property
    def state(self) -> Path:
        """The state folder: the snapshot, and the journals of the usage ledger."""
        return self.snapshot.parent

    @property
    def usage_url(self) -> str:
        """The ledger's store: the one that the file names, else a file of its own, so that nothing waits for it."""
        return self.url if self.is_asked else f"sqlite:{self.state / 'usage.db'}"

    @property
    def is_there(self) -> bool:
        """Whether there is a store to use: the file names one, or its default has been made."""
        return self.is_asked or Path(sqlite_path(self.url)).exists()


def store_place(path: str, fleet: Fleet, state_dir: Path | None = None) -> StorePlace:
    """The store of the fleet whose file is at `path`; `-` stands for one in the present folder. `state_dir`: what the
    command line says of the state folder."""
    folder = Path.cwd() if path == "-" else Path(path).absolute().parent
    state = state_folder(path, fleet.metadata.name, state_dir)
    asked = fleet.spec.gateway.store
    return StorePlace(
        url=asked.url if asked is not None else f"sqlite:{state / 'keys.db'}",
        folder=folder,
        snapshot=state / "keys.snapshot",
        is_asked=asked is not None,
    )


def store_password(spec: GatewaySpec) -> str | None:
    """The store's password, read anew at each call; None where the file names none.

    Raises:
        UsageError: it can't be read from where the file says.
    """
    if spec.store is None or spec.store.password_from is None:
        return None
    return read_source("The store's password", spec.store.password_from, os.environ, secret_reader(), chars_min=1)


def admin_token(spec: GatewaySpec) -> bytes | None:
    """SHA-256 of the admin token; None where the file names none.

    Raises:
        UsageError: it can't be read from where the file says, or is too short.
    """
    if spec.admin_token_from is None:
        return None
    token = read_source(
        "The admin token", spec.admin_token_from, os.environ, secret_reader(), chars_min=TOKEN_CHARS_MIN
    )
    return hashlib.sha256(token.encode()).digest()


def open_watch(
    place: StorePlace, fleet: str, password: Callable[[], str | None], changed: Callable[[KnownKeys], None]
) -> KeyWatch:
    """A watch on the store; nothing is connected yet.

    Raises:
        PenstockError: what speaks to databases is not installed.
    """
    store, snapshot = _store(place, fleet, password)
    from penstock.serve.io.stores import KeyWatch  # noqa: PLC0415 — start-up time

    return KeyWatch(store, snapshot, changed)


def open_desk(place: StorePlace, fleet: Fleet, password: Callable[[], str | None]) -> KeyDesk:
    """Where the fleet's keys are changed; nothing is connected yet.

    Raises:
        PenstockError: what speaks to databases is not installed.
    """
    store, _ = _store(place, fleet.metadata.name, password)
    from penstock.serve.io.stores import KeyDesk  # noqa: PLC0415 — start-up time

    served = [name for model in fleet.spec.models for name in model.names]
    return KeyDesk(store, served=lambda: served)


def open_usage(place: StorePlace, fleet: str, password: Callable[[], str | None]) -> UsageStore:
    """The usage ledger's store; nothing is connected yet.

    Raises:
        PenstockError: what speaks to databases is not installed.
    """
    try:
        from penstock.serve.io.stores import StoreAddress  # noqa: PLC0415 — start-up time
        from penstock.serve.io.stores.usage import UsageStore  # noqa: PLC0415 — start-up time
    except ImportError as error:
        raise PenstockError(
            f"The usage ledger needs what is not installed here ({error.name}).",
            hint="pip install 'penstock[postgres]'",
        ) from error
    address = StoreAddress(url=place.usage_url, folder=place.folder, is_asked=True, password=password)
    return UsageStore(address, fleet)


def open_ledger(place: StorePlace, fleet: str, password: Callable[[], str | None]) -> Ledger:
    """The ledger of a gateway; nothing is opened yet, and databases are not imported before a request is over."""
    from penstock.serve.io.ledger import Ledger  # noqa: PLC0415 — start-up time

    where = place.usage_url.partition("?")[0].removeprefix("sqlite:")
    return Ledger(place.state, fleet, lambda: open_usage(place, fleet, password), where=where)


def open_shelf(place: StorePlace, fleet: str, password: Callable[[], str | None]) -> SharedShelf | None:
    """Where the gateways of a fleet share the responses that they keep; None where the file names no store: they hold
    what was asked and answered, which nobody finds on a disk unasked.

    Raises:
        PenstockError: what speaks to databases is not installed.
    """
    if not place.is_asked:
        return None
    try:
        from penstock.serve.io.stores import StoreAddress  # noqa: PLC0415 — start-up time
        from penstock.serve.io.stores.responses import ResponseShelf, ResponseStore  # noqa: PLC0415 — start-up time
        from penstock.serve.io.stores.shelf import SharedShelf  # noqa: PLC0415 — start-up time
    except ImportError as error:
        raise PenstockError(
            f"Responses in a store need what is not installed here ({error.name}).",
            hint="pip install 'penstock[postgres]'",
        ) from error
    address = StoreAddress(url=place.url, folder=place.folder, is_asked=True, password=password)
    return SharedShelf(ResponseShelf(ResponseStore(address, fleet)))


def _store(place: StorePlace, fleet: str, password: Callable[[], str | None]) -> tuple[KeyStore, Snapshot]:
    try:
        from penstock.serve.io.stores import KeyStore, Snapshot, StoreAddress  # noqa: PLC0415 — start-up time
    except ImportError as error:
        raise PenstockError(
            f"Keys in a store need what is not installed here ({error.name}).",
            hint="pip install 'penstock[postgres]'",
        ) from error
    address = StoreAddress(url=place.url, folder=place.folder, is_asked=place.is_asked, password=password)
    return KeyStore(address, fleet), Snapshot(place.snapshot, url=place.url, fleet=fleet)


def secret_reader() -> SecretReader | None:
    """Reads Secrets from files of a folder, as they are mounted into a pod; None without a folder."""
    folder = os.environ.get(SECRETS_VARIABLE)
    if not folder:
        return None

    def read(name: str, key: str) -> str | None:
        if any(not part or part in (".", "..") or "/" in part or "\0" in part for part in (name, key)):
            return None
        try:
            with Path(folder, name, key).open("rb") as file:
                return file.read(_SECRET_BYTES_MAX).decode("utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    return read
