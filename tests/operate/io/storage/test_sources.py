"""Each scheme opens what speaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.s3 import FakeS3
from penstock.errors import UsageError
from penstock.operate.io.storage import open_source, open_vault
from penstock.operate.storage import parse_source


def test_each_scheme_has_its_source(the_bucket: FakeS3) -> None:
    kinds = {
        text: type(open_source(parse_source(text))).__name__ for text in ("o/m", "s3://models/x", "oci://r.io/m", "/m")
    }

    assert list(kinds.values()) == ["HubRemote", "ObjectRemote", "RegistryRemote", "FolderRemote"]


def test_backups_are_kept_in_folders_and_buckets(the_bucket: FakeS3, tmp_path: Path) -> None:
    assert open_vault(parse_source(str(tmp_path))).shown == str(tmp_path)
    assert open_vault(parse_source("s3://models/x")).shown == "s3://models/x"
    with pytest.raises(UsageError, match="cannot hold a backup"):
        open_vault(parse_source("org/name"))


@pytest.mark.parametrize("text", ["gs://bucket/qwen", "az://container/qwen"])
def test_other_clouds_are_opened_without_a_request(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")

    assert open_vault(parse_source(text)).shown == text


def test_a_cloud_that_lacks_a_setting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)

    with pytest.raises(UsageError, match="az://container/qwen cannot be opened"):
        open_vault(parse_source("az://container/qwen"))
