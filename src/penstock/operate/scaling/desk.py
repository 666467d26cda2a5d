"""The forecasts of all fleets that one controller keeps, and the answers to whoever asks for one. Pure.

Guarantees: an answer is of the newest decision, made at the moment of the question; a model that is unknown, or whose
load is, is refused in words, never answered with 0. One owner: the scaler.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from penstock.operate.scaling.gateways import Gateways
from penstock.operate.scaling.policy import Policy
from penstock.operate.scaling.recommend import HISTORY_S, Decision, Observation, Recommended, Unknown, recommend

__all__ = ["Answer", "Change", "Desk", "Refused", "Row"]

_OBSERVATIONS_MAX = 256
"""Of one model: two minutes in steps of five seconds are 25."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What KEDA is told. `value` and `target` are in the policy's unit."""

    value: float
    target: float
    is_active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why there is no answer. `unknown`: no such fleet or model here; `silent`: its load is not known now."""

    kind: Literal["unknown", "silent"]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A decision that differs from the one before, for the log."""

    fleet: str
    model: str
    decision: Decision
    replicas: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model as it is decided now."""

    fleet: str
    policy: Policy
    decision: Decision

    def as_json(self) -> dict[str, Any]:
        """For `/api/v1/scaling`."""
        policy, decision = self.policy, self.decision
        shown: dict[str, Any] = {
            "fleet": self.fleet,
            "model": policy.model,
            "target_requests": policy.target,
            "lead_s": policy.lead_s,
            "floor_replicas": policy.floor,
            "reason": decision.reason,
        }
        if isinstance(decision, Unknown):
            return {**shown, "is_known": False}
        return {
            **shown,
            "is_known": True,
            "in_flight_requests": decision.present,
            "recommended_requests": decision.value,
            "recommended_replicas": policy.replicas_for(decision.value),
            "is_active": decision.is_active,
            "has_trend": decision.has_trend,
        }


class _Fleet:
    def __init__(self) -> None:
        self.policies: dict[str, Policy] = {}
        self.gateways = Gateways()
        self.histories: dict[str, deque[Observation]] = {}
        self.told: dict[str, tuple[object, ...]] = {}


class Desk:
    """Policies, gateways and histories by fleet."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._fleets: dict[str, _Fleet] = {}

    def put(self, fleet: str, policies: Mapping[str, Policy]) -> None:
        """Takes the policies of a fleet as they are now."""
        kept = self._fleets.setdefault(fleet, _Fleet())
        kept.policies = dict(policies)
        for gone in kept.histories.keys() - policies.keys():
            del kept.histories[gone]
            kept.told.pop(gone, None)

    def forget(self, fleet: str) -> None:
        """A fleet is gone."""
        self._fleets.pop(fleet, None)

    def has_models(self, fleet: str) -> bool:
        """Whether any model of it is forecast."""
        return fleet in self._fleets and bool(self._fleets[fleet].policies)

    def gateways(self, fleet: str) -> Gateways:
        """The book of a fleet's gateways."""
        return self._fleets.setdefault(fleet, _Fleet()).gateways

    def observe(self, fleet: str, now: float) -> list[Change]:
        """Takes an observation of each model from the gateways' words; returns the decisions that changed."""
        kept = self._fleets.get(fleet)
        if kept is None:
            return []
        for model, seen in kept.gateways.observe(kept.policies, now).items():
            history = kept.histories.setdefault(model, deque(maxlen=_OBSERVATIONS_MAX))
            history.append(seen)
            while history[0].at < now - HISTORY_S:
                history.popleft()
        return list(_changes(fleet, kept, now))

    def rows(self, now: float) -> list[Row]:
        """Every model, by fleet and name."""
        return [
            Row(fleet=name, policy=policy, decision=_decision(kept, policy, now))
            for name, kept in sorted(self._fleets.items())
            for _, policy in sorted(kept.policies.items())
        ]

    def heard(self, now: float) -> dict[str, tuple[int, int]]:
        """Of each fleet, how many gateways are heard, and how many there are."""
        return {
            name: (kept.gateways.heard(now), len(kept.gateways.addresses))
            for name, kept in sorted(self._fleets.items())
            if kept.policies
        }

    def target(self, namespace: str, metadata: Mapping[str, str]) -> float | Refused:
        """What one replica is meant to have, in the policy's unit: known also while no gateway is heard."""
        found = self._find(namespace, metadata)
        return found if isinstance(found, Refused) else found[1].target * found[1].unit

    def answer(self, namespace: str, metadata: Mapping[str, str], now: float) -> Answer | Refused:
        """The answer to a trigger of this namespace with this metadata."""
        found = self._find(namespace, metadata)
        if isinstance(found, Refused):
            return found
        kept, policy = found
        decision = _decision(kept, policy, now)
        if isinstance(decision, Unknown):
            return Refused(kind="silent", reason=f"the load of {policy.model!r} is not known: {decision.reason}")
        value = max(0.0, decision.value - policy.floor * policy.target)
        return Answer(value=value * policy.unit, target=policy.target * policy.unit, is_active=decision.is_active)

    def _find(self, namespace: str, metadata: Mapping[str, str]) -> tuple[_Fleet, Policy] | Refused:
        fleet, model = metadata.get("fleet", ""), metadata.get("model", "")
        if namespace != self._namespace:
            reason = f"namespace {namespace!r} is not kept here, only {self._namespace!r}"
            return Refused(kind="unknown", reason=reason)
        kept = self._fleets.get(fleet)
        if kept is None:
            return Refused(kind="unknown", reason=f"no fleet {fleet!r} is kept here (metadata `fleet` of the trigger)")
        policy = kept.policies.get(model)
        if policy is None:
            reason = f"fleet {fleet!r} has no model {model!r} that scales `via: penstock` (metadata `model`)"
            return Refused(kind="unknown", reason=reason)
        return kept, policy


def _decision(kept: _Fleet, policy: Policy, now: float) -> Decision:
    return recommend(kept.histories.get(policy.model, ()), policy, now)


def _changes(fleet: str, kept: _Fleet, now: float) -> Iterator[Change]:
    """Decisions whose replicas or ground differ; a value that moves within the same replicas is no change."""
    for model, policy in kept.policies.items():
        decision = _decision(kept, policy, now)
        if isinstance(decision, Recommended):
            replicas = policy.replicas_for(decision.value)
            sign: tuple[object, ...] = (replicas, decision.has_trend, decision.is_active)
        else:
            replicas, sign = None, (decision.reason,)
        if kept.told.get(model) != sign:
            kept.told[model] = sign
            yield Change(fleet=fleet, model=model, decision=decision, replicas=replicas)
