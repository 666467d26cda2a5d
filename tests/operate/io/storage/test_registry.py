"""OCI artifacts through the real client: pinned by digest, continued, logged in, refused in words."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from fakes.models import small_model
from fakes.registry import FakeRegistry, digest
from fakes.stores import QuickStop
from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage import Pull, Pulled, open_source
from penstock.operate.io.storage.registry import RegistryRemote
from penstock.operate.storage import Interrupted, parse_source

FILES = small_model()
SHARD = "model-00001-of-00002.safetensors"


def pulled(text: str, store: Path) -> Pulled:
    source = parse_source(text)
    return Pull(source, lambda: open_source(source), store, stop=QuickStop()).run()


def test_a_tag_is_pulled_at_its_digest(the_registry: FakeRegistry, tmp_path: Path) -> None:
    pinned = the_registry.push("v1", FILES)

    done = pulled(f"oci://{the_registry.host}/org/tiny:v1", tmp_path)

    assert (done.revision, done.requested) == (pinned, "v1")
    assert {p: (Path(done.path) / p).read_bytes() for p in FILES} == FILES


def test_a_digest_holds_when_the_tag_moves_and_needs_no_registry_twice(
    the_registry: FakeRegistry, tmp_path: Path
) -> None:
    pinned = the_registry.push("v1", FILES)
    the_registry.push("v1", small_model(seed=9))

    assert pulled(f"oci://{the_registry.host}/org/tiny:v1@{pinned}", tmp_path).revision == pinned
    the_registry.manifests.clear()
    assert pulled(f"oci://{the_registry.host}/org/tiny@{pinned}", tmp_path).was_present


def test_a_manifest_that_is_not_of_its_digest_is_refused(the_registry: FakeRegistry) -> None:
    pinned = the_registry.push("v1", FILES)
    the_registry.manifests[pinned] += b" "

    with pytest.raises(PenstockError, match="another manifest"):
        RegistryRemote(parse_source(f"oci://{the_registry.host}/org/tiny@{pinned}")).listing()


def test_a_blob_cut_short_is_continued(the_registry: FakeRegistry, tmp_path: Path) -> None:
    files = small_model(numbers=100_000)
    the_registry.push("v1", files)
    key = digest(files[SHARD])
    the_registry.cuts[key] = [150_000]

    done = pulled(f"oci://{the_registry.host}/org/tiny:v1", tmp_path)

    assert (Path(done.path) / SHARD).read_bytes() == files[SHARD]
    assert the_registry.sent[key] - len(files[SHARD]) == 150_000 % 65_536  # what had not filled a chunk


def test_a_log_in_is_read_from_the_docker_config(
    the_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_registry.push("v1", FILES)
    the_registry.password = "pass"
    text = f"oci://{the_registry.host}/org/tiny:v1"
    with pytest.raises(UsageError, match="does not let us read"):
        RegistryRemote(parse_source(text)).listing()

    auth = base64.b64encode(b"user:pass").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {the_registry.host: {"auth": auth}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    assert pulled(text, tmp_path / "s").files == len(FILES)


def test_what_is_not_there_is_told(the_registry: FakeRegistry) -> None:
    with pytest.raises(UsageError, match="the registry has no oci://"):
        RegistryRemote(parse_source(f"oci://{the_registry.host}/org/tiny:v9")).listing()


def test_an_image_of_packed_folders_is_refused(the_registry: FakeRegistry) -> None:
    the_registry.push("v1", FILES, media="application/vnd.oci.image.layer.v1.tar+gzip")

    with pytest.raises(UsageError, match="packed folders"):
        RegistryRemote(parse_source(f"oci://{the_registry.host}/org/tiny:v1")).listing()


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"manifests": []}, "index of several"),
        ({"layers": [{"digest": "x"}]}, "a layer that cannot be read"),
        ([], "no artifact"),
    ],
)
def test_a_manifest_that_is_no_models_is_refused(the_registry: FakeRegistry, manifest: object, said: str) -> None:
    the_registry.manifests["v1"] = json.dumps(manifest).encode()

    with pytest.raises(UsageError, match=said):
        RegistryRemote(parse_source(f"oci://{the_registry.host}/org/tiny:v1")).listing()


def test_a_registry_that_is_not_there_may_be_tried_again() -> None:
    with pytest.raises(Interrupted, match="cannot be reached"):
        RegistryRemote(parse_source("oci://127.0.0.1:9/org/tiny:v1")).listing()
