"""Plain YAML: a stream, or one file for each group."""

from __future__ import annotations

import yaml

from penstock.plan.manifests.formats import HEADER, plain_files, stream
from plan.manifests.sites import bundle_of


def test_the_files_hold_every_object_once() -> None:
    bundle = bundle_of()
    read = [body for text in plain_files(bundle).values() for body in yaml.safe_load_all(text)]

    assert sorted(map(repr, read)) == sorted(map(repr, bundle.objects))


def test_the_stream_holds_them_in_order() -> None:
    bundle = bundle_of()
    assert list(yaml.safe_load_all(stream(bundle.manifests))) == bundle.objects


def test_each_file_says_that_it_is_ours() -> None:
    assert all(text.startswith(f"# {HEADER}\n") for text in plain_files(bundle_of()).values())
