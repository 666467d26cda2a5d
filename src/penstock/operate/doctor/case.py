"""What the rules look at: the evidence, and what follows from it, worked out once. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from penstock.facts import VLLM_VERSION
from penstock.operate.doctor.charts import chart_engines, fleet_engines
from penstock.operate.doctor.engines import Engine, command_engines, container_engine, fragments
from penstock.operate.doctor.evidence import Evidence, Node, Resource, Snippet
from penstock.operate.doctor.pods import Container, Pod, is_given_later, matches, owned, pods_of
from penstock.operate.doctor.queries import AdapterRule, Query, adapter_rules, queries_of, recorded
from penstock.operate.doctor.scalers import Scaler, scaler_of
from penstock.operate.doctor.shell import Command, commands

__all__ = ["Case"]


class Case:
    """One run's evidence with everything derived from it. Immutable: what it has worked out stays."""

    def __init__(self, evidence: Evidence, engine_version: str = "") -> None:
        self.evidence = evidence
        self.engine_version = engine_version or ""

    @property
    def newest_version(self) -> str:
        """What an image without a version is taken to hold."""
        return self.engine_version or VLLM_VERSION

    @cached_property
    def resources(self) -> tuple[Resource, ...]:
        """Documents that people write, or would: what a controller made is left out where its maker is there."""
        made = owned(self.evidence.resources)
        return tuple(r for r in self.evidence.resources if id(r) not in made)

    @cached_property
    def _by_kind(self) -> dict[str, list[Resource]]:
        found: dict[str, list[Resource]] = {}
        for resource in self.resources:
            if resource.is_object:
                found.setdefault(resource.kind, []).append(resource)
        return found

    def kind(self, *kinds: str) -> list[Resource]:
        """Objects of these kinds."""
        return [resource for kind in kinds for resource in self._by_kind.get(kind, ())]

    @cached_property
    def _named(self) -> dict[tuple[str, str, str], Resource]:
        return {(r.kind, r.namespace, r.name): r for r in reversed(self.evidence.resources) if r.is_object}

    def named(self, kind: str, namespace: str, name: str) -> Resource | None:
        """An object by kind and name; one of a file that names no namespace is found from any."""
        return (
            self._named.get((kind, namespace, name))
            or self._named.get((kind, "", name))
            or (None if namespace else self._only(kind, name))
        )

    def _only(self, kind: str, name: str) -> Resource | None:
        return next((r for r in self._by_kind.get(kind, ()) if r.name == name), None)

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """Every pod template."""
        return tuple(pod for resource in self.resources for pod in pods_of(resource))

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        return tuple(container for pod in self.pods for container in pod.containers)

    def environment(self, container: Container) -> dict[str, str]:
        """A container's variables whose values are known: literal, or from a ConfigMap that is there."""
        namespace = container.pod.resource.namespace
        found: dict[str, str] = {}
        for source in container.node["envFrom"]:
            config = self.named("ConfigMap", namespace, source.at("configMapRef", "name").text)
            if config is not None:
                found.update({key: node.text for key, node in config.root["data"].fields()})
        for env in container.env_nodes:
            ref = env.at("valueFrom", "configMapKeyRef")
            if "value" in env.mapping:
                found[env["name"].text] = env["value"].text
            elif ref:
                config = self.named("ConfigMap", namespace, ref["name"].text)
                if config is not None and config.root.at("data", ref["key"].text):
                    found[env["name"].text] = config.root.at("data", ref["key"].text).text
        return found

    @cached_property
    def engines(self) -> tuple[Engine, ...]:
        """Every way that vLLM is started, loose flags included."""
        found: list[Engine] = []
        seen: dict[int, set[tuple[str | int, ...]]] = {}
        scripts: set[tuple[str, str]] = set()
        for container in self.containers:
            resource = container.pod.resource
            paths = seen.setdefault(id(resource), set())
            paths |= {container.node[key].path for key in ("command", "args")}
            scripts |= {(resource.file, node.text) for node in container.scripts}
            engine = container_engine(container, self.environment(container), self.engine_version)
            if engine is not None:
                found.append(engine)
                paths |= {env["value"].path for env in container.env_nodes}
        for resource in self.resources:
            for engine in (
                *chart_engines(resource, self.engine_version),
                *fleet_engines(resource, self.engine_version),
            ):
                found.append(engine)
                seen.setdefault(id(resource), set()).update(
                    flag.node.path[:-1] for flag in engine.flags if flag.node is not None
                )
        for snippet in self.snippets("shell", "dockerfile"):
            if (snippet.file, snippet.text) not in scripts:
                found += command_engines(snippet, self.engine_version)
        used = {place for engine in found for flag in engine.flags if (place := flag.where.line and str(flag.where))}
        for resource in self.resources:
            for engine in fragments(resource, seen.get(id(resource), set()), self.engine_version):
                if not all(str(flag.where) in used for flag in engine.flags):
                    found.append(engine)
        return tuple(found)

    @cached_property
    def whole_engines(self) -> tuple[Engine, ...]:
        """Engines without the loose flags."""
        return tuple(engine for engine in self.engines if engine.is_whole)

    @cached_property
    def engine_pods(self) -> dict[int, Engine]:
        """The engine of a pod template, by the template's id."""
        return {id(engine.pod): engine for engine in reversed(self.engines) if engine.pod is not None}

    def snippets(self, *kinds: str) -> Iterator[Snippet]:
        return (snippet for snippet in self.evidence.snippets if snippet.kind in kinds)

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        """Every command of every script and page."""
        return tuple(c for snippet in self.snippets("shell", "dockerfile") for c in commands(snippet))

    @cached_property
    def queries(self) -> tuple[Query, ...]:
        return tuple(query for resource in self.resources for query in queries_of(resource))

    @cached_property
    def adapter_rules(self) -> tuple[AdapterRule, ...]:
        return tuple(rule for resource in self.resources for rule in adapter_rules(resource))

    @cached_property
    def recorded(self) -> set[str]:
        """Series and API metrics that the evidence itself defines."""
        return recorded(self.queries) | {rule.name for rule in self.adapter_rules if rule.name}

    @cached_property
    def scalers(self) -> tuple[Scaler, ...]:
        found = (scaler_of(resource) for resource in self.resources)
        return tuple(s for s in found if s is not None and not s.is_made_by_keda)

    @cached_property
    def pods_by_key(self) -> dict[tuple[str, str, str], Pod]:
        """Pod templates by namespace, kind and name of their workload."""
        found: dict[tuple[str, str, str], Pod] = {}
        for pod in self.pods:
            found.setdefault((pod.resource.namespace, pod.kind, pod.resource.name), pod)
        return found

    @cached_property
    def _pods_by_label(self) -> dict[tuple[str, str], list[Pod]]:
        found: dict[tuple[str, str], list[Pod]] = {}
        for pod in self.pods:
            for key, value in pod.labels.items():
                found.setdefault((key, str(value)), []).append(pod)
        return found

    def selected(self, selector: Node) -> list[Pod]:
        """Pod templates that a label selector picks, of any namespace."""
        labels = [(key, node.text) for key, node in selector["matchLabels"].fields() if not is_given_later(key)]
        among = self._pods_by_label.get(labels[0], []) if labels else self.pods
        return [pod for pod in among if matches(selector, pod.labels)]

    @cached_property
    def _services_by_label(self) -> dict[tuple[str, str], list[Resource]]:
        found: dict[tuple[str, str], list[Resource]] = {}
        for service in self.kind("Service"):
            for key, value in service.labels.items():
                found.setdefault((key, str(value)), []).append(service)
        return found

    def selected_services(self, selector: Node) -> list[Resource]:
        """Services that a label selector picks, of any namespace."""
        labels = [(key, node.text) for key, node in selector["matchLabels"].fields()]
        among = self._services_by_label.get(labels[0], []) if labels else self.kind("Service")
        return [service for service in among if matches(selector, service.labels)]

    @cached_property
    def services_by_namespace(self) -> dict[str, list[Resource]]:
        """Services by the namespace that their file names."""
        found: dict[str, list[Resource]] = {}
        for service in self.kind("Service"):
            found.setdefault(service.namespace, []).append(service)
        return found

    @cached_property
    def _queries_by_place(self) -> dict[tuple[int, tuple[str | int, ...]], Query]:
        return {(id(query.node.resource), query.node.path): query for query in self.queries}

    def query_at(self, node: Node) -> Query | None:
        """The query that a node is."""
        return self._queries_by_place.get((id(node.resource), node.path))

    @cached_property
    def scalers_by_key(self) -> dict[tuple[str, str, str], list[Scaler]]:
        """Scalers by what they scale."""
        found: dict[tuple[str, str, str], list[Scaler]] = {}
        for scaler in self.scalers:
            found.setdefault(scaler.key, []).append(scaler)
        return found

    def scaled_engine(self, scaler: Scaler) -> Engine | None:
        """The engine that a scaler scales; None where it is something else, or not there."""
        pod = self.pods_by_key.get(scaler.key)
        return None if pod is None else self.engine_pods.get(id(pod))

    def node_of(self, resource: Resource) -> Node:
        """Where to point for an object as a whole: its name."""
        return resource.root.at("metadata", "name")
