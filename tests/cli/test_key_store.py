"""Where a fleet's keys are kept: beside its file unless it says otherwise, and nothing is made by looking."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from penstock.cli.key_store import (
    SECRETS_VARIABLE,
    admin_token,
    open_shelf,
    store_password,
    store_place,
)
from penstock.cli.state import STATE_VARIABLE
from penstock.errors import UsageError
from penstock.spec import Fleet, GatewaySpec
from penstock.spec.loader import load_fleet


def fleet(gateway: str = "{}") -> Fleet:
    head = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: demo}\n"
    return load_fleet(f"{head}spec: {{models: [{{name: chat}}], gateway: {gateway}}}\n", "fleet.yaml")


def gateway(text: str) -> GatewaySpec:
    return fleet(text).spec.gateway


def test_keys_lie_in_the_state_folder_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STATE_VARIABLE, raising=False)
    place = store_place(str(tmp_path / "fleet.yaml"), fleet())

    assert place.url == f"sqlite:{tmp_path}/.penstock/demo/keys.db"
    assert place.snapshot == tmp_path / ".penstock" / "demo" / "keys.snapshot"
    assert (place.is_asked, place.is_there) == (False, False)
    assert list(tmp_path.iterdir()) == []
    place.snapshot.parent.mkdir(parents=True)
    (place.snapshot.parent / "keys.db").touch()
    assert place.is_there


def test_the_file_and_the_environment_say_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    asked = store_place(str(tmp_path / "fleet.yaml"), fleet("{store: {url: 'postgresql://u@db/p'}}"))

    assert (asked.url, asked.is_asked, asked.is_there) == ("postgresql://u@db/p", True, True)
    assert asked.snapshot == tmp_path / "state" / "keys.snapshot"
    assert store_place("-", fleet()).url == f"sqlite:{tmp_path}/state/keys.db"
    assert store_place("-", fleet(), tmp_path / "named").state == tmp_path / "named"


def test_the_password_is_read_anew_from_where_the_file_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = gateway("{store: {url: 'postgresql://u@db/p', passwordFrom: {secretKeyRef: {name: db, key: password}}}}")
    monkeypatch.setenv(SECRETS_VARIABLE, str(tmp_path))
    (tmp_path / "db").mkdir()
    for password in ("one", "two"):
        (tmp_path / "db" / "password").write_text(f"{password}\n")
        assert store_password(spec) == password
    (tmp_path / "db" / "password").unlink()
    with pytest.raises(UsageError, match="The store's password comes from key password of Secret db"):
        store_password(spec)
    assert store_password(gateway("{}")) is None


def test_the_admin_token_is_long_and_held_as_a_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = gateway("{adminTokenFrom: {env: ADMIN_TOKEN}}")
    monkeypatch.setenv("ADMIN_TOKEN", "0123456789abcdef")
    assert admin_token(spec) == hashlib.sha256(b"0123456789abcdef").digest()
    monkeypatch.setenv("ADMIN_TOKEN", "0123456789abcde")
    with pytest.raises(UsageError, match="fewer than 16"):
        admin_token(spec)
    assert admin_token(gateway("{}")) is None


def test_responses_are_written_down_only_where_the_file_names_a_store(tmp_path: Path) -> None:
    path = str(tmp_path / "fleet.yaml")
    asked = fleet("{store: {url: 'sqlite:here.db'}}")

    assert open_shelf(store_place(path, fleet()), "demo", lambda: None) is None
    assert open_shelf(store_place(path, asked), "demo", lambda: None) is not None
    assert list(tmp_path.iterdir()) == []
