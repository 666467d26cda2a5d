"""Who comes, and what they may: bearer tokens, and RBAC evaluated from the stored roles. Pure.

Guarantees: without tokens everybody is an administrator; with tokens, a request is carried out only if a role that is
bound to its user, one of its groups or its service account allows it. Leaves out: the check that a role grants no more
than its author has (escalation).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.operate.testing.catalog import Catalog
from penstock.operate.testing.kinds import Resource
from penstock.operate.testing.requests import Address, Request
from penstock.operate.testing.status import Refusal, qualified, unauthorized
from penstock.operate.testing.store import Store

__all__ = ["ADMIN_GROUP", "Access", "User"]

ADMIN_GROUP = "system:masters"
"""Members may do everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who sent a request. A service account is `system:serviceaccount:NAMESPACE:NAME`."""

    name: str
    groups: tuple[str, ...] = ()

    @classmethod
    def service_account(cls, namespace: str, name: str) -> User:
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return cls(name=f"system:serviceaccount:{namespace}:{name}", groups=groups)

    @property
    def is_admin(self) -> bool:
        return ADMIN_GROUP in self.groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What somebody wants to do."""

    verb: str
    group: str = ""
    plural: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    """For paths that are no resource."""


class Access:
    """Authentication and authorization of one cluster. Reads the roles from its store."""

    def __init__(self, store: Store, catalog: Catalog, tokens: Mapping[str, User] | None) -> None:
        self._store = store
        self._catalog = catalog
        self.tokens = None if tokens is None else dict(tokens)

    def user_of(self, headers: Mapping[str, str]) -> User:
        """Raises:
        Refusal: 401, the token is unknown.
        """
        if self.tokens is None:
            return User(name="kubernetes-admin", groups=(ADMIN_GROUP, "system:authenticated"))
        kind, _, token = headers.get("authorization", "").partition(" ")
        if not token:
            return User(name="system:anonymous", groups=("system:unauthenticated",))
        if kind.lower() != "bearer" or token not in self.tokens:
            raise unauthorized()
        return self.tokens[token]

    def check(self, user: User, request: Request, resource: Resource, address: Address) -> None:
        """Raises:
        Refusal: 403, no role allows it.
        """
        ask = Ask(
            verb=_verb(request, address),
            group=resource.group,
            plural=resource.plural,
            subresource=address.subresource,
            namespace=address.namespace,
            name=address.name,
        )
        is_about_self = resource.kind.startswith("Self") and "system:unauthenticated" not in user.groups
        if not is_about_self and not self.allows(user, ask):  # as ClusterRole system:basic-user has it
            raise _forbidden(user, ask)

    def allows(self, user: User, ask: Ask) -> bool:
        """Whether a bound role allows it."""
        return user.is_admin or any(_rule_allows(rule, ask) for rule in self.rules_of(user, ask.namespace))

    def rules_of(self, user: User, namespace: str) -> Iterator[dict[str, Any]]:
        """The rules that hold for a user in a namespace."""
        group = "rbac.authorization.k8s.io"
        roles = self._catalog.built_in("roles", group)
        cluster_roles = self._catalog.built_in("clusterroles", group)
        for binding in self._store.all(self._catalog.built_in("clusterrolebindings", group)):
            if _binds(binding, user):
                yield from _rules(self._store.get(cluster_roles, "", binding["roleRef"]["name"]))
        if not namespace:
            return
        for binding in self._store.all(self._catalog.built_in("rolebindings", group), namespace):
            if _binds(binding, user):
                is_cluster = binding["roleRef"]["kind"] == "ClusterRole"
                where = (cluster_roles, "") if is_cluster else (roles, namespace)
                yield from _rules(self._store.get(*where, binding["roleRef"]["name"]))

    def review(self, resource: Resource, address: Address, body: Any, user: User) -> dict[str, Any]:
        """The answer to a review of access or of a token."""
        spec = dict(body.get("spec") or {}) if isinstance(body, dict) else {}
        answer = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {"creationTimestamp": None}}
        match resource.kind:
            case "SelfSubjectReview":
                info = {"username": user.name, "groups": list(user.groups)}
                return answer | {"status": {"userInfo": info}}
            case "TokenReview":
                found = (self.tokens or {}).get(spec.get("token", ""))
                status: dict[str, Any] = {"authenticated": found is not None}
                if found is not None:
                    status["user"] = {"username": found.name, "groups": list(found.groups)}
                return answer | {"spec": spec, "status": status}
            case "SelfSubjectRulesReview":
                rules = [
                    {key: rule[key] for key in ("verbs", "apiGroups", "resources", "resourceNames") if key in rule}
                    for rule in self.rules_of(user, spec.get("namespace", ""))
                ]
                if user.is_admin:
                    rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
                return answer | {
                    "spec": {},
                    "status": {"resourceRules": rules, "nonResourceRules": [], "incomplete": False},
                }
            case _:
                who = user
                if not resource.kind.startswith("Self"):
                    who = User(name=spec.get("user", ""), groups=tuple(spec.get("groups") or ()))
                is_allowed = self.allows(who, _asked(spec))
                return answer | {"spec": spec, "status": {"allowed": is_allowed}}


def _asked(spec: Mapping[str, Any]) -> Ask:
    if outside := spec.get("nonResourceAttributes"):
        return Ask(verb=outside.get("verb", ""), path=outside.get("path", ""))
    wanted = spec.get("resourceAttributes") or {}
    return Ask(
        verb=wanted.get("verb", ""),
        group=wanted.get("group", ""),
        plural=wanted.get("resource", ""),
        subresource=wanted.get("subresource", ""),
        namespace=wanted.get("namespace", ""),
        name=wanted.get("name", ""),
    )


def _verb(request: Request, address: Address) -> str:
    is_watch = request.query.get("watch") in ("true", "1")
    match request.method:
        case "GET" | "HEAD":
            return "watch" if is_watch else "get" if address.name else "list"
        case "POST":
            return "create"
        case "PUT":
            return "update"
        case "PATCH":
            return "patch"
        case _:
            return "delete" if address.name else "deletecollection"


def _binds(binding: Mapping[str, Any], user: User) -> bool:
    for subject in binding.get("subjects") or ():
        match subject.get("kind"):
            case "User" if subject.get("name") == user.name:
                return True
            case "Group" if subject.get("name") in user.groups:
                return True
            case "ServiceAccount":
                namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
                if user.name == f"system:serviceaccount:{namespace}:{subject.get('name')}":
                    return True
    return False


def _rules(role: dict[str, Any] | None) -> list[dict[str, Any]]:
    return list((role or {}).get("rules") or ())


def _rule_allows(rule: Mapping[str, Any], ask: Ask) -> bool:
    def has(field: str, *wanted: str) -> bool:
        return any(each in (rule.get(field) or ()) for each in wanted)

    if not has("verbs", ask.verb, "*"):
        return False
    if ask.path:
        return any(
            path in ("*", ask.path) or (path.endswith("*") and ask.path.startswith(path[:-1]))
            for path in rule.get("nonResourceURLs") or ()
        )
    if not has("apiGroups", ask.group, "*"):
        return False
    what = f"{ask.plural}/{ask.subresource}" if ask.subresource else ask.plural
    if not has("resources", what, "*", *((f"*/{ask.subresource}",) if ask.subresource else ())):
        return False
    names = rule.get("resourceNames") or ()
    return not names or ask.name in names


def _forbidden(user: User, ask: Ask) -> Refusal:
    what = f"{ask.plural}/{ask.subresource}" if ask.subresource else ask.plural
    where = f' in the namespace "{ask.namespace}"' if ask.namespace else " at the cluster scope"
    subject = qualified(ask.plural, ask.group) + (f"/{ask.subresource}" if ask.subresource and not ask.group else "")
    named = f' "{ask.name}"' if ask.name else ""
    message = (
        f'{subject}{named} is forbidden: User "{user.name}" cannot {ask.verb} resource "{what}" in API group '
        f'"{ask.group}"{where}'
    )
    details = {"name": ask.name, "group": ask.group, "kind": ask.plural}
    return Refusal(403, "Forbidden", message, {key: value for key, value in details.items() if value})
