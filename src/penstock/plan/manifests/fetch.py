"""What pulls a model's files: a Job for volumes that several read, an init container for a pod's own. Pure.

Guarantees: a token is given only to what pulls; a Job that is done stays, so that applying again changes nothing; a
change of what is pulled is another Job, as a Job can't be changed; a mistake that no retry mends ends it at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.plan.manifests.manifest import Because, Manifest, Wave
from penstock.plan.manifests.needs import ModelNeeds
from penstock.plan.manifests.security import container_security, pod_security
from penstock.plan.manifests.site import Site
from penstock.plan.manifests.sources import Folder
from penstock.plan.manifests.volumes import MODELS, claims, content_digest, fetched

__all__ = ["TOKEN_VARIABLES", "job_name", "pull_containers", "render_fetch", "token_env"]

TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")
"""Names under which a token for the hub is given, old ones included."""
_CARRIED = (
    *("HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "S3_ENDPOINT_URL"),
)
"""Of `engine.env`, what a download needs too: mirrors and proxies."""
_SLOWEST_BYTES_PER_S = 20_000_000
"""A line of 160 Mbit/s: slower than any that models are usually pulled over."""
_DEADLINE_MIN_S = 3600
_WRONG_USE = 2
"""Exit code of `penstock models` when no retry can help: no such model, no access, a damaged source."""


def job_name(site: Site, needs: ModelNeeds) -> str | None:
    """Name of the Job that fills the model's volume; None where there is none."""
    if claims(site, needs) is None or not fetched(site, needs):
        return None
    return f"{site.names[needs.spec.name]}-fetch-{content_digest(site, needs, site.image)}"


def render_fetch(site: Site, needs: ModelNeeds) -> Iterator[Manifest]:
    """The Job."""
    name, found = job_name(site, needs), claims(site, needs)
    if name is None or found is None:
        return
    own = site.names[needs.spec.name]
    metadata = site.metadata("models", name, own)
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": Because(6, "Tried again with growing pauses; a pull goes on where the last one stopped."),
            "activeDeadlineSeconds": _deadline(needs),
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": Because("FailJob", "Exit code 2: no such model, no access. No retry mends that."),
                        "onExitCodes": {"operator": "In", "values": [_WRONG_USE]},
                    },
                    {
                        "action": Because("Ignore", "A node that goes away is not a failure of the pull."),
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                ]
            },
            "template": {"metadata": {"labels": metadata["labels"]}, "spec": _pod(site, needs, found.filled)},
        },
    }
    yield Manifest(
        body=body,
        wave=Wave.FETCH,
        file=f"{own}/storage",
        heading=f"Pulls and verifies the files of {needs.spec.name}; what is there already is not pulled again. It "
        "stays when it is done, and its name changes with what it pulls. To pull anew: delete it and apply.",
    )


def _deadline(needs: ModelNeeds) -> Because:
    seconds = max(_DEADLINE_MIN_S, -(-2 * needs.source_bytes // _SLOWEST_BYTES_PER_S // 60) * 60)
    reason = f"Twice what {needs.source_bytes / 1e9:.0f} GB take at 20 MB/s, and not less than an hour."
    return Because(seconds, reason)


def _pod(site: Site, needs: ModelNeeds, claim: str) -> dict[str, Any]:
    *first, last = pull_containers(site, needs, fetched(site, needs), {"name": "models", "mountPath": MODELS})
    secrets = [{"name": name} for name in site.kubernetes.image_pull_secrets]
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **({"imagePullSecrets": secrets} if secrets else {}),
        "securityContext": pod_security(),
        **({"initContainers": first} if first else {}),
        "containers": [last],
        "volumes": [
            {"name": "models", "persistentVolumeClaim": {"claimName": claim}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "4Gi"}},
        ],
    }


def pull_containers(
    site: Site, needs: ModelNeeds, folders: tuple[Folder, ...], mount: dict[str, Any]
) -> list[dict[str, Any]]:
    """One container for each thing that is pulled."""
    names = ["pull"] if len(folders) == 1 else [f"pull-{number}" for number in range(1, len(folders) + 1)]
    return [_pull(site, needs, folder, mount, name) for folder, name in zip(folders, names, strict=True)]


def _pull(site: Site, needs: ModelNeeds, folder: Folder, mount: dict[str, Any], name: str) -> dict[str, Any]:
    args: list[Any] = ["models", "pull", folder.source]
    if folder.revision is not None:
        args += ["--revision", folder.revision]
    args += ["--name", folder.name, "--to", mount["mountPath"], "--output", "json"]
    if not folder.is_pinned:
        reason = "No commit is pinned: engines find what it resolves to through the link `current`."
        args.append(Because("--current", reason))
    carried = {key: value for key, value in needs.spec.engine.env.items() if key in _CARRIED}
    return {
        "name": name,
        "image": site.image,
        "args": args,
        "env": [
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 — the pod's own
            {"name": "HF_HOME", "value": "/tmp/huggingface"},  # noqa: S108
            *({"name": key, "value": value} for key, value in sorted(carried.items())),
            *token_env(site),
        ],
        "resources": {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"memory": "4Gi"}},
        "securityContext": container_security(),
        "volumeMounts": [mount, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


def token_env(site: Site) -> list[Any]:
    """The token for gated models, where the file names one."""
    token = site.kubernetes.hugging_face_token
    if token is None:
        return []
    entry = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": token.name, "key": token.key}}}
    return [Because(entry, "For gated models; only what downloads has it.")]
