"""Seeds that failed once, with what each of them found. They are drawn anew when `draw` changes: what they stood for
has its own test beside the code that was wrong, which is named here."""

from __future__ import annotations

KEPT = {
    4: "a request that was sent while the queue was off gave back KV room that it never took, after a reload had "
    "turned the queue on (tests/serve/flow/test_flow.py)",
    8: "a model stayed in `Flow.wakes` though nobody waited, and its Retry-After grew from the first refusal on "
    "(tests/serve/flow/test_flow.py)",
    305: "the simulation's own: an engine that was stopped while requests waited in it never took them up again",
    1451: "the simulation's own: an engine behind a half-open connection goes on for a client that left",
}
