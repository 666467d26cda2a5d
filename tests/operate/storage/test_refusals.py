"""What a hub's refusal means: each kind has its own words, and only what may pass is tried again."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import UsageError
from penstock.operate.storage import Interrupted
from penstock.operate.storage.refusals import hub_refusal, is_passing, registry_refusal


def refusal(status: int, **fields: Any) -> UsageError | Interrupted:
    base = {"code": "", "said": "", "repo": "org/m", "revision": "main", "page": "https://hub/org/m", "has_token": True}
    return hub_refusal(status, **{**base, **fields})


@pytest.mark.parametrize(
    ("status", "fields", "said"),
    [
        (401, {"code": "GatedRepo", "has_token": False}, "gated: HF_TOKEN is not set"),
        (403, {"code": "GatedRepo"}, "has not been granted access"),
        (401, {"said": "Invalid credentials in Authorization header"}, "expired"),
        (
            401,
            {"code": "RepoNotFound", "has_token": False},
            "no repository org/m, or it is private and HF_TOKEN is not set",
        ),
        (404, {"code": "RepoNotFound"}, "HF_TOKEN's account may not see it"),
        (404, {"code": "RevisionNotFound"}, "no revision 'main'"),
        (404, {"code": "EntryNotFound"}, "does not have a file that it lists"),
        (403, {}, "HF_TOKEN may not read org/m"),
        (403, {"said": "Access to this resource is disabled."}, "disabled by the hub"),
        (418, {"said": "teapot"}, "418 teapot"),
    ],
)
def test_each_refusal_has_its_words(status: int, fields: dict[str, Any], said: str) -> None:
    error = refusal(status, **fields)

    assert isinstance(error, UsageError)
    assert said in str(error)
    assert error.hint


def test_a_gated_model_names_the_page_with_the_licence() -> None:
    assert "accept its licence at https://hub/org/m" in str(refusal(403, code="GatedRepo"))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    error = refusal(status, after_s=7.0)

    assert is_passing(status)
    assert isinstance(error, Interrupted)
    assert error.after_s == 7.0
    assert isinstance(registry_refusal(status, "r/m"), Interrupted)


@pytest.mark.parametrize(
    ("status", "said"), [(401, "log in"), (403, "log in"), (404, "has no r/m"), (400, "refuses r/m")]
)
def test_a_registrys_refusal_has_its_words(status: int, said: str) -> None:
    assert said in str(registry_refusal(status, "r/m"))
