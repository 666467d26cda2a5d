"""The reload on the admin port: for those who hold the token, and a wrong file changes nothing and says why."""

from __future__ import annotations

import hashlib

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from penstock.errors import Problem, SpecError
from penstock.serve.io.reload_route import RELOAD_PATH, Reloaded, reload_route

TOKEN = "an-admin-token-1"
HELD = {"authorization": f"Bearer {TOKEN}"}


class File:
    """A fleet file as far as a reload goes."""

    def __init__(self) -> None:
        self.reads = 0
        self.error: SpecError | None = None

    def reload(self) -> Reloaded:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return Reloaded(changed=("spec.gateway.queue.depthMax",), notes=("spec.gateway.listen has changed: …",))


@pytest.fixture
def file() -> File:
    return File()


def client(file: File, token: str | None = TOKEN) -> TestClient:
    digest = hashlib.sha256(token.encode()).digest() if token is not None else None
    return TestClient(Starlette(routes=[reload_route(file.reload, lambda: digest)]))


def test_what_changed_and_what_needs_a_restart_is_told(file: File) -> None:
    answer = client(file).post(RELOAD_PATH, headers=HELD)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "is_taken": True,
            "changed": ["spec.gateway.queue.depthMax"],
            "needs_restart": ["spec.gateway.listen has changed: …"],
        },
    )


def test_a_wrong_file_is_400_with_file_and_line(file: File) -> None:
    problem = Problem(file="fleet.yaml", line=7, column=3, field="spec.models[0].name", message="is no name")
    file.error = SpecError([problem])
    answer = client(file).post(RELOAD_PATH, headers=HELD)
    assert answer.status_code == 400
    assert "fleet.yaml:7:3: spec.models[0].name: is no name" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("token", "headers", "status"),
    [(TOKEN, {}, 401), (TOKEN, {"authorization": "Bearer another-token-22"}, 401), (None, HELD, 403)],
)
def test_nobody_else_reloads(file: File, token: str | None, headers: dict[str, str], status: int) -> None:
    answer = client(file, token).post(RELOAD_PATH, headers=headers)
    assert (answer.status_code, file.reads) == (status, 0)


def test_without_a_token_in_the_file_another_way_is_named(file: File) -> None:
    message = client(file, None).post(RELOAD_PATH, headers=HELD).json()["error"]["message"]
    assert "Reloads are not served here" in message
    assert "SIGHUP" in message


def test_it_is_asked_for_and_never_read(file: File) -> None:
    assert client(file).get(RELOAD_PATH, headers=HELD).status_code == 405
    assert file.reads == 0
