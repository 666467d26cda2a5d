"""The store: revisions, events, and what is forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operate.testing.api import config_map
from penstock.operate.testing.kinds import BUILT_IN
from penstock.operate.testing.status import Refusal
from penstock.operate.testing.store import Store

MAPS = next(resource for resource in BUILT_IN if resource.plural == "configmaps")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30))
def test_the_history_leads_from_any_revision_to_now(writes: list[tuple[str, bool]]) -> None:
    """Whoever knows the objects at some revision and reads the changes since knows the objects now."""
    store = Store()
    states = {store.revision: {}}
    for name, is_removed in writes:
        live = store.get(MAPS, "", name)
        if is_removed and live is not None:
            store.remove(MAPS, live)
        else:
            store.put(MAPS, config_map(name))
        states[store.revision] = {obj["metadata"]["name"]: obj for obj in store.all(MAPS)}

    now = states[store.revision]
    for revision, known in states.items():
        for change in store.since(revision):
            known = {**known, change.key[1]: change.after}
        assert {name: obj for name, obj in known.items() if obj is not None} == now


def test_old_history_is_compacted_by_itself() -> None:
    store = Store(history_max=100)
    for _ in range(102):
        store.put(MAPS, config_map())

    with pytest.raises(Refusal, match="too old resource version"):
        store.since(1)
    assert store.since(store.revision - 5)
