"""Secrets: fetched by the External Secrets operator where the file says so, else expected to be there. Pure.

No value is ever rendered. What must exist is told as a note.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.plan.manifests.keys import env_secret, keys_by_secret, keys_from_env
from penstock.plan.manifests.manifest import Manifest, Wave
from penstock.plan.manifests.site import Site
from penstock.spec import Fleet

__all__ = ["needed_secrets", "render_secrets", "secret_notes"]


def needed_secrets(fleet: Fleet) -> dict[str, list[str]]:
    """Keys of every Secret that the fleet reads, by Secret, both sorted."""
    found = {name: set(keys) for name, keys in keys_by_secret(fleet).items()}
    token = fleet.spec.kubernetes.hugging_face_token
    if token is not None:
        found.setdefault(token.name, set()).add(token.key)
    if keys_from_env(fleet):
        found.setdefault(env_secret(fleet), set()).update(keys_from_env(fleet))
    return {name: sorted(found[name]) for name in sorted(found)}


def render_secrets(site: Site) -> Iterator[Manifest]:
    """One ExternalSecret for each Secret, where there is a store."""
    external = site.kubernetes.external_secrets
    if external is None:
        return
    for name, keys in needed_secrets(site.fleet).items():
        remote = f"{external.prefix}{name}"
        yield Manifest(
            body={
                "apiVersion": "external-secrets.io/v1",
                "kind": "ExternalSecret",
                "metadata": site.fleet_metadata(name),
                "spec": {
                    "refreshInterval": _duration(external.refresh_s),
                    "secretStoreRef": {"name": external.store, "kind": external.store_kind},
                    "target": {"name": name, "creationPolicy": "Owner"},
                    "data": [{"secretKey": key, "remoteRef": {"key": remote, "property": key}} for key in keys],
                },
            },
            wave=Wave.ACCESS,
            file="secrets",
            heading=f"Makes the Secret {name} from {remote} of the store, and follows its changes.",
        )


def secret_notes(site: Site) -> Iterator[str]:
    """What must be there before the fleet can start, and what a rotation takes."""
    if site.kubernetes.external_secrets is None:
        for name, keys in needed_secrets(site.fleet).items():
            words = f"Secret {site.namespace}/{name} must be there, with {'keys' if len(keys) > 1 else 'key'} "
            yield words + ", ".join(keys)
    if keys_from_env(site.fleet):
        yield (
            f"what comes from environment variables is read from Secret {env_secret(site.fleet)} when a gateway "
            "starts: after a change, restart the gateways; `secretKeyRef` is followed without"
        )


def _duration(seconds: int) -> str:
    """As the API server keeps durations: `1h0m0s`."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s"
