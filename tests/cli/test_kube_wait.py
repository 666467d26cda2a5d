"""Which objects a wait is about."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cli.cluster_command import ARGS, command, penstock
from penstock.cli.kube_target import places
from penstock.cli.kube_wait import waited_for


def test_rolled_out_is_about_replicas_only_and_nobody_waits_for_scalers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with command(tmp_path, monkeypatch) as here:
        file = here.file()
        penstock("apply", file, *ARGS)
        (place,) = places(file, context=None, namespace=None, cluster=None, all_clusters=False)

        found = asyncio.run(waited_for(place, "rolled-out", 0.0))

        assert {row.ref.kind for row in found.rows} == {"Deployment"}
        assert {row.ref.name for row in found.rows} == {"demo-chat", "demo-gateway"}
