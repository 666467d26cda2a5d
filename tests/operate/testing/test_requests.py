"""What a path addresses, and what a query says."""

from __future__ import annotations

import pytest

from penstock.operate.testing.requests import Address, Options, address_of
from penstock.operate.testing.status import Refusal


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/api/v1/pods", Address(group="", version="v1", plural="pods")),
        ("/api/v1/namespaces", Address(group="", version="v1", plural="namespaces")),
        ("/api/v1/namespaces/a", Address(group="", version="v1", plural="namespaces", name="a")),
        (
            "/api/v1/namespaces/a/status",
            Address(group="", version="v1", plural="namespaces", name="a", subresource="status"),
        ),
        ("/api/v1/namespaces/a/pods", Address(group="", version="v1", plural="pods", namespace="a")),
        (
            "/apis/apps/v1/namespaces/a/deployments/w/scale",
            Address(group="apps", version="v1", plural="deployments", namespace="a", name="w", subresource="scale"),
        ),
        ("/apis/apps/v1", None),
        ("/version", None),
        ("/api/v1/namespaces/a/pods/p/log/more", None),
    ],
)
def test_paths_address_resources(path: str, address: Address | None) -> None:
    assert address_of(path) == address


def test_the_query_of_a_write_is_checked() -> None:
    options = Options.of({"dryRun": "All", "force": "true", "fieldManager": "m"}, {})

    assert (options.is_dry_run, options.is_forced, options.manager) == (True, True, "m")
    assert Options.of({}, {"user-agent": "kubectl/v1.36 (linux)"}).manager == "kubectl"
    assert Options.of({}, {}, {"dryRun": ["All"]}).is_dry_run
    with pytest.raises(Refusal, match="fieldValidation"):
        Options.of({"fieldValidation": "strict"}, {})
