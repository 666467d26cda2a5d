"""What must be there before pods start: Secrets, volumes, and the classes that pods name. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from penstock.facts.kubernetes import BLOCK_CLASSES, BLOCK_DRIVERS
from penstock.operate.apply.objects import Object, at
from penstock.operate.preflight.case import Case, failed, ok
from penstock.operate.preflight.survey import Check
from penstock.plan.manifests import Bundle

__all__ = ["classes", "secrets", "secrets_of", "storage"]


def secrets_of(bundle: Bundle) -> dict[str, frozenset[str]]:
    """Secrets that the pods of a bundle read, with the keys; without those that the bundle itself makes."""
    made = {
        str(at(m.object, "spec", "target", "name", default=m.name)) for m in bundle.manifests if _makes_secret(m.kind)
    }
    found: dict[str, set[str]] = {}
    for manifest in bundle.manifests:
        for name, key in _secret_refs(manifest.object):
            found.setdefault(name, set()).update({key} if key else ())
    return {name: frozenset(keys) for name, keys in sorted(found.items()) if name not in made}


def _makes_secret(kind: str) -> bool:
    return kind in ("Secret", "ExternalSecret")


def _secret_refs(value: object) -> Iterator[tuple[str, str]]:
    """(name, key) of every Secret that an object must have; the key is empty where all of it is read."""
    if isinstance(value, list):
        for item in value:
            yield from _secret_refs(item)
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        if name == "secretKeyRef" and isinstance(inner, dict) and not inner.get("optional"):
            yield str(inner["name"]), str(inner["key"])
        elif name == "secret" and isinstance(inner, dict) and not inner.get("optional"):
            owner = str(inner.get("secretName") or inner.get("name") or "")
            keys = [str(item["key"]) for item in inner.get("items", ())] or [""]
            yield from ((owner, key) for key in keys if owner)
        elif name == "imagePullSecrets" and isinstance(inner, list):
            yield from ((str(item["name"]), "") for item in inner)
        else:
            yield from _secret_refs(inner)


def secrets(case: Case) -> Iterator[Check]:
    """Whether each Secret that pods read is there, with its keys."""
    wanted = secrets_of(case.bundle)
    if wanted and case.survey.secrets is None:
        yield case.unknown("secret", "secrets", ", ".join(wanted))
        return
    for name, keys in wanted.items():
        held = (case.survey.secrets or {}).get(name)
        if held is None:
            literal = " ".join(f"--from-literal={key}=…" for key in sorted(keys)) or "…"
            hint = f"kubectl -n {case.site.namespace} create secret generic {name} {literal}"
            message = f"there is no Secret {name} in {case.site.namespace}: pods that read it do not start"
            yield failed("secret", name, message, hint=hint)
        elif missing := sorted(keys - held):
            message = f"the Secret {name} has no key {', '.join(missing)}; it has {', '.join(sorted(held)) or 'none'}"
            yield failed("secret", name, message, hint="add it, or name another key")
        else:
            yield ok("secret", name, "the Secret is there")


def storage(case: Case) -> Iterator[Check]:
    """Whether volumes can be made as many readers as they have need, and those that are named are there."""
    claims = [m.object for m in case.bundle.manifests if m.kind == "PersistentVolumeClaim"]
    if claims and case.survey.storage_classes is None:
        yield case.unknown("storage-class", "storage_classes")
        claims = []
    classes = {obj["metadata"]["name"]: obj for obj in case.survey.storage_classes or ()}
    for claim in claims:
        yield _claim(claim, classes)
    wanted = {s.claim for needs in case.site.needs.values() if (s := case.site.storage(needs)).claim is not None}
    present = {obj["metadata"]["name"] for obj in case.survey.claims or ()}
    for name in sorted(name for name in wanted if name is not None):
        if case.survey.claims is None:
            yield case.unknown("volume", "claims", name)
        elif name in present:
            yield ok("volume", name, "the volume is there")
        else:
            message = f"there is no PersistentVolumeClaim {name} in {case.site.namespace}"
            yield failed("volume", name, message, hint="make it, or leave `claim` out")


def _claim(claim: Object, classes: Mapping[str, Object]) -> Check:
    name = claim["metadata"]["name"]
    wanted = at(claim, "spec", "storageClassName")
    modes = at(claim, "spec", "accessModes", default=())
    if wanted is None:
        key = "storageclass.kubernetes.io/is-default-class"
        wanted = next((n for n, o in classes.items() if at(o, "metadata", "annotations", key) == "true"), None)
        if wanted is None:
            message = "no StorageClass is the default, and the fleet names none: the volume would stay Pending"
            hint = f"name one of {', '.join(sorted(classes)) or 'none'} as `storage.storageClass`"
            return failed("storage-class", name, message, hint=hint)
    if wanted not in classes:
        hint = f"there are {', '.join(sorted(classes)) or 'none'}"
        message = f"there is no StorageClass {wanted}"
        return failed("storage-class", name, message, hint=hint)
    provisioner = str(at(classes[wanted], "provisioner", default=""))
    block = BLOCK_DRIVERS.get(provisioner) or (BLOCK_CLASSES.get(wanted) if not provisioner else None)
    if "ReadWriteMany" in modes and block is not None:
        message = f"the StorageClass {wanted} makes {block}, which one node can write; {name} is for many nodes"
        hint = "use a class of a shared file system, or `storage.mode: readOnlyMany` or `node`"
        return failed("storage-class", name, message, hint=hint)
    return ok("storage-class", name, f"{wanted}, by {provisioner or 'somebody'}")


def classes(case: Case) -> Iterator[Check]:
    """Priority, runtime and device classes that pods name and the bundle does not make."""
    made = {m.name for m in case.bundle.manifests if m.kind in ("PriorityClass", "RuntimeClass", "DeviceClass")}
    sources = (
        ("PriorityClass", "priority_classes", case.survey.priority_classes, _named(case.bundle, "priorityClassName")),
        ("RuntimeClass", "runtime_classes", case.survey.runtime_classes, _named(case.bundle, "runtimeClassName")),
        ("DeviceClass", "device_classes", case.survey.device_classes, _named(case.bundle, "deviceClassName")),
    )
    for kind, field, present, wanted in sources:
        rest = sorted(wanted - made)
        if rest and present is None:
            yield case.unknown("class", field, ", ".join(rest))
            continue
        held = {obj["metadata"]["name"] for obj in present or ()}
        for name in rest:
            if name in held or name.startswith("system-"):
                yield ok("class", name, f"the {kind} is there")
            else:
                message = f"there is no {kind} {name}: pods that name it are refused"
                yield failed("class", name, message, hint="make it, or name another")


def _named(bundle: Bundle, field: str) -> set[str]:
    found: set[str] = set()
    stack: list[object] = [manifest.object for manifest in bundle.manifests]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if isinstance(value.get(field), str):
                found.add(value[field])
            stack += value.values()
        elif isinstance(value, list):
            stack += value
    return found
