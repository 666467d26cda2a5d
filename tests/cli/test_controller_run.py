"""`penstock controller` as a process: it keeps a Fleet, and SIGTERM ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from operate.io.controller.running import cluster_with_fleet
from penstock.operate.testing.io.server import running_api_server

PATIENCE_S = 140.0
"""A bound for the hopeless case. Two seconds of its own CPU are over 30 on two cores that twenty others keep busy."""


@pytest.mark.timeout(300)
def test_a_fleet_is_kept_until_the_process_is_told_to_end(tmp_path: Path) -> None:
    cluster = cluster_with_fleet()
    made = threading.Event()

    def look() -> None:
        if cluster.get("v1", "ConfigMap", "f-fleet", "ai") is not None:
            made.set()

    with running_api_server(cluster) as server:
        server.run(lambda: cluster.on_change.append(look))
        path = server.kubeconfig(tmp_path / "config", "ai")
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock", "controller", "--listen", "127.0.0.1:0", "--fleet", "f"],
            env={**os.environ, "KUBECONFIG": str(path)},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert made.wait(PATIENCE_S)
            process.send_signal(signal.SIGTERM)
            _, words = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()

    assert process.returncode == 0
    assert words.startswith("keeping fleet f of namespace ai at http://127.0.0.1:")
    assert words.endswith("stopped\n")
