"""A bundle as a Helm chart whose default values give exactly what was rendered. Pure.

What people change from one installation to the next is a value: images, replicas, resources, bounds of scaling, host
names, labels, and whether policies, monitors and the way in are there. What follows from the model's plan is not: that
is what the fleet file is for. Guarantees: text that looks like a template (Grafana's and Prometheus' own) is not one.

Left out: the namespace, which Helm wants to be there before a release is (`--create-namespace`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from penstock import __version__
from penstock.plan.manifests.emit import emit
from penstock.plan.manifests.formats.chart_values import ChartValues
from penstock.plan.manifests.formats.plain import HEADER
from penstock.plan.manifests.manifest import Bundle, Manifest, Wave, plain
from penstock.plan.manifests.names import dns_name
from penstock.plan.manifests.site import GATEWAY_PORT, Site

__all__ = ["helm_files"]

_SWITCHES = {
    "network": ("networkPolicies", "Whether pods are closed off from each other but for what they need."),
    "expose": ("expose", "Whether there is a way in from outside."),
    "monitoring": ("monitoring", "Whether monitors, rules and dashboards are made; autoscaling needs what they bring."),
    "rules": ("monitoring", "Whether monitors, rules and dashboards are made; autoscaling needs what they bring."),
}
"""Groups of files that a value turns off, by the first or last part of their path."""
_LEFT_OUT = ("Namespace",)


def helm_files(site: Site, bundle: Bundle) -> dict[str, str]:
    """Text of each file of the chart by its path."""
    values = ChartValues(site)
    groups: dict[str, list[str]] = {}
    crds = [manifest for manifest in bundle.manifests if manifest.kind == "CustomResourceDefinition"]
    for manifest in bundle.manifests:
        if manifest.kind not in _LEFT_OUT and manifest not in crds:
            changed = values.templated(manifest)
            groups.setdefault(f"templates/{manifest.file}.yaml", []).append(values.filled(_escaped(emit(changed))))
    files = {path: _template(path, documents, values) for path, documents in groups.items()}
    files |= {f"crds/{manifest.name}.yaml": f"# {HEADER}\n{emit(manifest)}" for manifest in crds}
    files["templates/namespace-check.yaml"] = _namespace_check(site)
    files["templates/NOTES.txt"] = _notes(site, bundle)
    files["values.yaml"] = _values(values)
    files["values.schema.json"] = json.dumps({"$comment": HEADER, **values.schema()}, indent=2) + "\n"
    files["README.md"] = _readme(site, values)
    files["Chart.yaml"] = _chart(site, files)
    return dict(sorted(files.items()))


def _escaped(text: str) -> str:
    """Double braces of the objects' own are text, not template."""
    return text.replace("{{", '{{ "{{" }}')


def _template(path: str, documents: Sequence[str], values: ChartValues) -> str:
    body = "".join(f"---\n{document}" for document in documents)
    parts = path.removeprefix("templates/").removesuffix(".yaml").split("/")
    group = next((part for part in (parts[0], parts[-1]) if part in _SWITCHES), None)
    if group is None:
        return f"# {HEADER}\n{body}"
    name, words = _SWITCHES[group]
    values.switch(name, words)
    return f"# {HEADER}\n{{{{- if .Values.{name}.enabled }}}}\n{body}{{{{- end }}}}\n"


def _namespace_check(site: Site) -> str:
    words = (
        f"this chart was rendered for namespace {site.namespace}, which stands in queries and addresses: install it "
        f"with -n {site.namespace}, or render again with --namespace"
    )
    condition = f"{{{{- if ne .Release.Namespace {json.dumps(site.namespace)} }}}}"
    return f"# {HEADER}\n{condition}\n{{{{- fail {json.dumps(words)} }}}}\n{{{{- end }}}}\n"


def _notes(site: Site, bundle: Bundle) -> str:
    gateway = dns_name(site.name, "gateway")
    from_inside = f"http://{gateway}.{site.namespace}.svc:{GATEWAY_PORT}/v1"
    lines = [
        f"{{{{- /* {HEADER} */ -}}}}",
        f"Fleet {site.name}: {', '.join(site.needs) or 'all models run elsewhere'}.",
        "",
        f"Clients inside the cluster use {from_inside}",
        f"From this machine: kubectl -n {site.namespace} port-forward svc/{gateway} {GATEWAY_PORT}",
        *(("", "Before it can run:", *(f"- {note}" for note in bundle.notes)) if bundle.notes else ()),
    ]
    head, *rest = lines
    return "\n".join([head, *map(_escaped, rest)]) + "\n"


def _values(values: ChartValues) -> str:
    head = f"# {HEADER}\n# Give changes of your own with `helm upgrade --values mine.yaml`.\n"
    return head + emit(Manifest(body=values.defaults(), wave=Wave.CLUSTER, file=""))


def _readme(site: Site, values: ChartValues) -> str:
    rows = "".join(f"| `{name}` | `{json.dumps(value)}` | {words} |\n" for name, value, words in _rows(values))
    return (
        f"<!-- {HEADER} -->\n"
        f"# {site.name}\n\n"
        f"The fleet `{site.name}` as a Helm chart, made by `penstock render --format helm`.\n\n"
        f"```sh\nhelm upgrade --install {site.name} . --namespace {site.namespace} --create-namespace\n```\n\n"
        "Its default values give the same objects as `penstock render`, but for the namespace, which Helm wants to be "
        "there before the release. What is no value follows from the fleet file: change that, and render again.\n\n"
        "Jobs that download models keep the image they were rendered with, as a Job cannot be changed.\n\n"
        f"| value | default | what it is |\n|---|---|---|\n{rows}"
    )


def _rows(values: ChartValues) -> Iterator[tuple[str, Any, str]]:
    for entry in sorted(values.entries, key=lambda entry: entry.path):
        yield ".".join(entry.path), plain(entry.default), entry.words


def _chart(site: Site, files: dict[str, str]) -> str:
    """The version changes with the content, so that no two charts have one version."""
    digest = hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()[:12]
    body = {
        "apiVersion": "v2",
        "name": site.name,
        "description": f"The fleet {site.name}: {len(site.needs)} models behind one gateway.",
        "type": "application",
        "version": f"0.1.0+{digest}",
        "appVersion": __version__,
        "kubeVersion": ">=1.33.0-0",
    }
    return f"# {HEADER}\n" + emit(Manifest(body=body, wave=Wave.CLUSTER, file=""))
