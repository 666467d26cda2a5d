"""Who comes, and what they may."""

from __future__ import annotations

from operate.testing.api import MAPS, PODS, Api, Json, config_map
from penstock.operate.testing import Cluster, User

ADMIN = User(name="root", groups=("system:masters",))
ROBOT = User.service_account("default", "robot")
RBAC = "rbac.authorization.k8s.io/v1"


def guarded(*rules: Json, resource_names: tuple[str, ...] = ()) -> Api:
    """A cluster in which the robot's role has these rules, in namespace default."""
    api = Api(Cluster(seed=1, tokens={"admin-token": ADMIN, "robot-token": ROBOT}))
    api.cluster.create({"apiVersion": RBAC, "kind": "Role", "metadata": {"name": "r"}, "rules": list(rules)})
    api.cluster.create(
        {
            "apiVersion": RBAC,
            "kind": "RoleBinding",
            "metadata": {"name": "b"},
            "roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}],
        }
    )
    return api


READ = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}


def test_an_unknown_token_is_unauthorized() -> None:
    refused = guarded().refused("GET", MAPS, token="wrong")

    assert (refused["code"], refused["reason"], refused["message"]) == (401, "Unauthorized", "Unauthorized")


def test_roles_allow_what_they_say_and_no_more() -> None:
    api = guarded(READ)
    assert api.ok("GET", MAPS, token="robot-token")["items"] == []

    refused = api.refused("POST", MAPS, config_map(), token="robot-token")

    assert (refused["code"], refused["reason"]) == (403, "Forbidden")
    assert refused["message"] == (
        'configmaps is forbidden: User "system:serviceaccount:default:robot" cannot create resource "configmaps" in '
        'API group "" in the namespace "default"'
    )
    assert api.refused("GET", "/api/v1/configmaps", token="robot-token")["message"].endswith("at the cluster scope")
    assert api.refused("GET", PODS, token="robot-token")["code"] == 403
    api.ok("POST", MAPS, config_map(), token="admin-token")


def test_roles_may_name_objects_and_subresources() -> None:
    named = READ | {"verbs": ["get"], "resourceNames": ["a"]}
    scale = {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]}
    api = guarded(named, scale)
    api.ok("POST", MAPS, config_map(), token="admin-token")

    assert api.ok("GET", f"{MAPS}/a", token="robot-token")
    assert api.refused("GET", f"{MAPS}/b", token="robot-token")["code"] == 403
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    assert api.refused("PATCH", f"{deployments}/w/scale", {}, token="robot-token")["code"] != 403
    assert api.refused("PATCH", f"{deployments}/w", {}, token="robot-token")["code"] == 403


def test_a_cluster_role_holds_where_it_is_bound() -> None:
    api = guarded()
    watch = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["watch", "list"]}
    api.cluster.create({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": "w"}, "rules": [watch]})
    binding = {
        "apiVersion": RBAC,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "w"},
        "roleRef": {"kind": "ClusterRole", "name": "w", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "Group", "name": "system:serviceaccounts", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    assert api.refused("GET", "/api/v1/pods", token="robot-token")["code"] == 403

    api.cluster.create(binding)

    assert api.ok("GET", "/api/v1/pods", token="robot-token")["items"] == []
    assert api.refused("DELETE", PODS, token="robot-token")["code"] == 403


def test_reviews_answer_what_is_allowed() -> None:
    api = guarded(READ)
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

    def may(verb: str, resource: str) -> bool:
        attributes = {"verb": verb, "resource": resource, "namespace": "default"}
        body = {"spec": {"resourceAttributes": attributes}, "kind": "SelfSubjectAccessReview"}
        return bool(api.ok("POST", path, body, token="robot-token")["status"]["allowed"])

    assert may("get", "configmaps")
    assert not may("delete", "configmaps")


def test_reviews_are_open_to_everybody_who_is_known() -> None:
    api = guarded()
    group = "/apis/authorization.k8s.io/v1"

    rules = api.ok("POST", f"{group}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}, token="robot-token")
    who = api.ok("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, token="robot-token")
    other = {"spec": {"user": ROBOT.name, "resourceAttributes": {"verb": "get", "resource": "pods"}}}
    asked = api.ok("POST", f"{group}/subjectaccessreviews", other, token="admin-token")
    token = api.ok(
        "POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "robot-token"}}, token="admin-token"
    )

    assert rules["status"]["resourceRules"] == []
    assert who["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"
    assert asked["status"] == {"allowed": False}
    assert token["status"]["user"]["username"] == ROBOT.name


def test_without_tokens_everybody_is_an_administrator() -> None:
    assert Api().ok("POST", MAPS, config_map())
