"""A store with models and a fleet file that names them, for the tests of `penstock models`."""

from __future__ import annotations

from pathlib import Path

from fakes.stores import Memory, pull
from penstock.operate.io.storage import Pulled

FLEET = """\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {name: demo}
spec:
  models:
    - name: chat
      source: org/tiny
      revision: r1
    - name: chat-again
      source: org/tiny
      revision: r1
    - name: elsewhere
      endpoints: ["http://127.0.0.1:9001"]
"""


def filled(store: Path, *revisions: str) -> list[Pulled]:
    """Pulls `org/tiny` at each revision into the store, from memory."""
    return [pull(Memory(revision=revision), store) for revision in revisions or ("r1",)]


def fleet_file(folder: Path, text: str = FLEET) -> str:
    """A fleet file; its path."""
    path = folder / "fleet.yaml"
    path.write_text(text)
    return str(path)
