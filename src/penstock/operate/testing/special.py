"""Subresources that are acts, not state: evicting a pod, binding it to a node, reading its log, asking for a token.

Guarantees: an eviction that a disruption budget does not allow is a 429 in the real server's words. Source:
`pkg/registry/core/pod/storage/eviction.go`. Pure.
"""

from __future__ import annotations

from typing import Any

from penstock.operate.testing.catalog import Catalog
from penstock.operate.testing.deletion import DeleteOptions, Deleter
from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.requests import Address
from penstock.operate.testing.selectors import label_selector_matches
from penstock.operate.testing.status import Cause, Refusal, bad_request, conflict, not_found, too_many_requests
from penstock.operate.testing.store import Store
from penstock.operate.testing.writing import Call

__all__ = ["Special"]

_SUCCESS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


class Special:
    """The acts of one cluster. Owned by it."""

    def __init__(self, store: Store, catalog: Catalog, deleter: Deleter) -> None:
        self._store = store
        self._catalog = catalog
        self._deleter = deleter

    def _pod(self, resource: Resource, address: Address) -> dict[str, Any]:
        found = self._store.get(resource, address.namespace, address.name)
        if found is None:
            raise not_found("", resource.plural, address.name)
        return found

    def evict(self, resource: Resource, address: Address, body: Any, call: Call) -> dict[str, Any]:
        """Deletes a pod if its budget allows, and takes that from the budget.

        Raises:
            Refusal: 429 where it does not allow; 500 where two budgets cover the pod.
        """
        pod = self._pod(resource, address)
        if not isinstance(body, dict):
            raise bad_request("the body is not an Eviction")
        options = DeleteOptions.of({}, body.get("deleteOptions"))
        phase = (pod.get("status") or {}).get("phase")
        if phase in ("Succeeded", "Failed", "Pending") or pod["metadata"].get("deletionTimestamp"):
            self._deleter.delete(resource, pod, options, call)
            return _SUCCESS
        budgets = [budget for budget in self._budgets(address.namespace) if _covers(budget, pod)]
        if len(budgets) > 1:
            words = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            raise Refusal(500, "InternalError", words, {})
        if budgets and not self._is_lost_already(budgets[0], pod):
            self._take(budgets[0], pod, call)
        self._deleter.delete(resource, pod, options, call)
        return _SUCCESS

    def _budgets(self, namespace: str) -> list[dict[str, Any]]:
        return self._store.all(self._catalog.built_in("poddisruptionbudgets", "policy"), namespace)

    def _is_lost_already(self, budget: dict[str, Any], pod: dict[str, Any]) -> bool:
        """A pod that is not ready may go where the policy says so, or while the budget is met without it."""
        conditions = (pod.get("status") or {}).get("conditions") or ()
        is_ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        status = budget.get("status") or {}
        is_healthy = status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0
        always = (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
        return not is_ready and (always or is_healthy)

    def _take(self, budget: dict[str, Any], pod: dict[str, Any], call: Call) -> None:
        status = budget.get("status") or {}
        name = budget["metadata"]["name"]
        if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 1):
            words = f"The disruption budget {name} is still being processed by the server."
            raise too_many_requests(_CANNOT, 10, [Cause("DisruptionBudget", words, "")])
        allowed = status.get("disruptionsAllowed", 0)
        if allowed < 1:
            words = (
                f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods and has "
                f"{status.get('currentHealthy', 0)} currently"
            )
            raise too_many_requests(_CANNOT, 0, [Cause("DisruptionBudget", words, "")])
        if call.options.is_dry_run:
            return
        resource = self._catalog.built_in("poddisruptionbudgets", "policy")
        self._store.put(resource, budget | {"status": status | {"disruptionsAllowed": allowed - 1}})

    def bind(self, resource: Resource, address: Address, body: Any) -> dict[str, Any]:
        """Gives a pod its node, once."""
        pod = self._pod(resource, address)
        target = ((body or {}).get("target") or {}).get("name", "")
        if pod["spec"].get("nodeName"):
            why = f'pod {address.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
            raise conflict("", "pods/binding", address.name, why)
        self._store.put(resource, pod | {"spec": pod["spec"] | {"nodeName": target}})
        return _SUCCESS

    def log(self, resource: Resource, address: Address) -> str:
        """What a test wrote as the log of a pod: its annotation `testing.penstock.dev/log`."""
        pod = self._pod(resource, address)
        return str((pod["metadata"].get("annotations") or {}).get("testing.penstock.dev/log", ""))


_CANNOT = "Cannot evict pod as it would violate the pod's disruption budget."


def _covers(budget: dict[str, Any], pod: dict[str, Any]) -> bool:
    return label_selector_matches((budget.get("spec") or {}).get("selector"), pod["metadata"].get("labels"))
