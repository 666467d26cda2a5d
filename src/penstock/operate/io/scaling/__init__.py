"""The scaler at work: gateways are read, KEDA is answered.

gRPC's handlers of forks are turned off before it is imported, as it looks only then. They start a poller in the child
of a process that uses gRPC; Python closes the poller's descriptor before it execs, and now and then the child aborts
in between (grpc/grpc#43055, open as of 1.85). Children of ours always exec.
"""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

from penstock.operate.io.scaling.scaler import Beat, Scaler

__all__ = ["Beat", "Scaler"]
