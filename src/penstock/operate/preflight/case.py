"""One cluster asked about one fleet, and how an answer is made. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from penstock.operate.apply.objects import Object, at
from penstock.operate.preflight.survey import Check, Status, Survey
from penstock.plan.manifests import Bundle, Site

__all__ = ["Case", "failed", "ok", "warning", "workloads_of"]

_POD_KINDS = ("Deployment", "StatefulSet", "LeaderWorkerSet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A fleet, what it is in the cluster, and what the cluster shows of itself."""

    site: Site
    bundle: Bundle
    survey: Survey

    def unknown(self, id_: str, field: str, about: str = "") -> Check:
        """The answer where a field of the survey could not be read."""
        reason = self.survey.unread.get(field, "it was not read")
        return Check(id=id_, about=about, status=Status.UNKNOWN, message=f"{field.replace('_', ' ')}: {reason}")


def ok(id_: str, about: str, message: str, *, hint: str = "") -> Check:
    return Check(id=id_, about=about, status=Status.OK, message=message, hint=hint)


def warning(id_: str, about: str, message: str, *, hint: str = "") -> Check:
    return Check(id=id_, about=about, status=Status.WARNING, message=message, hint=hint)


def failed(id_: str, about: str, message: str, *, hint: str = "") -> Check:
    return Check(id=id_, about=about, status=Status.FAILED, message=message, hint=hint)


def workloads_of(bundle: Bundle) -> Iterator[tuple[Object, Object, int]]:
    """Each workload with a pod template of it, and how many pods of that template it has."""
    for manifest in bundle.manifests:
        if manifest.kind not in _POD_KINDS:
            continue
        obj = manifest.object
        replicas = int(at(obj, "spec", "replicas", default=1))
        if manifest.kind != "LeaderWorkerSet":
            yield obj, at(obj, "spec", "template"), replicas
            continue
        group = at(obj, "spec", "leaderWorkerTemplate", default={})
        size = int(group.get("size", 1))
        leader = group.get("leaderTemplate") or group["workerTemplate"]
        yield obj, leader, replicas
        if size > 1:
            yield obj, group["workerTemplate"], replicas * (size - 1)
