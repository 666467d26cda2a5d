"""Where a fleet's state lies: logs and locks of `up`, the keys that its file does not name, the ledger of use.

The one place that decides, for every command that has `--state-dir`. Nothing is made here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["STATE_VARIABLE", "StateOption", "state_folder"]

STATE_VARIABLE = "PENSTOCK_STATE_DIR"
"""Environment variable with the folder, where `.penstock/FLEET` beside the file can't be written, as in a pod."""

StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        metavar="FOLDER",
        help="Where logs, keys and the ledger of use are kept, for `up`, `gateway`, `keys`, `tenants` and `usage` "
        f"alike. Default: {STATE_VARIABLE}, else .penstock/FLEET beside the file.",
    ),
]


def state_folder(file: str, fleet: str, named: Path | None = None) -> Path:
    """The state folder of the fleet of that name, absolute. `file`: its fleet file, `-` for one in the present folder;
    `named`: what the command line says."""
    if named is None and (variable := os.environ.get(STATE_VARIABLE)):
        named = Path(variable)
    if named is not None:
        return named.absolute()
    beside = Path.cwd() if file == "-" else Path(file).absolute().parent
    return beside / ".penstock" / fleet
