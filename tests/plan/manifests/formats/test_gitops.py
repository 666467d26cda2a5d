"""Sync waves."""

from __future__ import annotations

from penstock.plan.manifests.formats import SYNC_WAVE, with_sync_waves
from plan.manifests.sites import CHAT, bundle_of

EXPOSED = f"""{CHAT}  gateway:
    auth: {{anonymous: true}}
    expose: {{kind: ingress, host: a.example, annotations: {{x.y/z: kept}}}}
"""


def test_objects_are_annotated_with_their_wave_and_keep_the_rest() -> None:
    plain, annotated = bundle_of(EXPOSED), with_sync_waves(bundle_of(EXPOSED))

    for before, after in zip(plain.manifests, annotated.manifests, strict=True):
        annotations = after.object["metadata"]["annotations"]
        assert annotations[SYNC_WAVE] == str(int(before.wave))
        assert annotations.keys() - {SYNC_WAVE} == before.object["metadata"].get("annotations", {}).keys()


def test_downloads_come_before_engines_and_ways_in_last() -> None:
    waves: dict[str, set[int]] = {}
    for manifest in with_sync_waves(bundle_of(EXPOSED)).manifests:
        waves.setdefault(manifest.kind, set()).add(int(manifest.object["metadata"]["annotations"][SYNC_WAVE]))

    assert max(waves["PersistentVolumeClaim"]) < min(waves["Job"]) < min(waves["Deployment"]) < min(waves["Ingress"])
