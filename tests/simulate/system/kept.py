"""Seeds that failed once, with what each of them found.

What a seed draws changes with `draw`: then seek, with the fault put back, one that finds it again. Each fault also has
its own test beside the code that was wrong.
"""

from __future__ import annotations

KEPT = {
    5: "a request that was sent while the queue was off gave back KV room that it never took, once a reload had turned "
    "the queue on (tests/serve/flow/test_flow.py)",
    8: "a model stayed in `Flow.wakes` though nobody waited, and its Retry-After counted from the first refusal on "
    "(tests/serve/flow/test_flow.py)",
    3183: "the world looked whether all was quiet while a gateway stood still, which had not heard yet that a client "
    "was gone: the world's fault (a freeze that outlasts everybody's requests)",
    1248: "a message of one token that the gateway ended itself had its last event and no stop reason "
    "(tests/serve/test_closing.py)",
    25946: "who waited for a model that a reload took out of the file waited on (tests/serve/flow/test_flow.py)",
}
