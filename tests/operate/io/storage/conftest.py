"""A hub, a bucket and a registry on loopback, and a network that ends there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes import hub, registry, s3
from fakes.hub import FakeHub, Repo
from fakes.models import small_model
from fakes.registry import FakeRegistry
from fakes.s3 import FakeS3


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of this machine's own log-ins is read."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "DOCKER_CONFIG", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nonexistent/token")


@pytest.fixture
def the_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with `org/tiny`."""
    with hub.serving(FakeHub(repos={"org/tiny": Repo(files=small_model())})) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


@pytest.fixture
def the_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeS3]:
    """A bucket `models` with a model under `tiny/`."""
    objects = {f"tiny/{path}": content for path, content in small_model().items()}
    with s3.serving(FakeS3(objects=objects)) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield running


@pytest.fixture
def the_registry() -> Iterator[FakeRegistry]:
    """An empty registry."""
    with registry.serving(FakeRegistry()) as running:
        yield running
