"""`penstock keys` and `penstock tenants` on a real file: the key comes once, on stdout, and never again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.main import main
from penstock.serve.keys import KeyForm, form_of

FLEET = """\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {name: demo}
spec:
  gateway:
    tenants: [{name: acme, models: [chat], keys: [{name: desk, valueFrom: {env: NOT_SET_HERE}}]}]
  models: [{name: chat}, {name: embed}]
"""


class Person:
    """Types commands about one fleet and reads what they print."""

    def __init__(self, folder: Path, screen: pytest.CaptureFixture[str]) -> None:
        self.file = folder / "fleet.yaml"
        self.file.write_text(FLEET)
        self.folder = folder
        self._screen = screen

    def types(self, *words: str) -> tuple[int, str, str]:
        code = main([words[0], words[1], str(self.file), *words[2:]])
        printed = self._screen.readouterr()
        return code, printed.out, printed.err

    def reads(self, *words: str) -> Any:
        code, out, err = self.types(*words, "--output", "json")
        assert code == 0, err
        return json.loads(out)


@pytest.fixture
def person(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Person:
    monkeypatch.delenv("PENSTOCK_STATE_DIR", raising=False)
    return Person(tmp_path, capsys)


def test_a_key_is_printed_alone_on_stdout_once(person: Person) -> None:
    code, out, err = person.types("keys", "create", "--tenant", "beta", "--name", "ci")

    key = out.strip()
    assert (code, form_of(key)) == (0, KeyForm.WHOLE)
    assert out == f"{key}\n"
    assert "the only time" in err
    assert key not in err
    for words in (["keys", "list", "--all"], ["tenants", "list"], ["keys", "list", "-o", "json"]):
        code, out, err = person.types(*words)
        assert code == 0
        assert key not in out + err
    found = [p for p in person.folder.rglob("*") if p.is_file() and key[4:-4].encode() in p.read_bytes()]
    assert found == []


def test_keys_of_the_file_and_of_the_store_are_listed_together(person: Person) -> None:
    person.types("keys", "create", "--tenant", "beta", "--name", "ci", "--models", "chat,embed", "--expires", "1d")
    gone = person.reads("keys", "create", "--tenant", "acme", "--name", "old")["record"]["id"]
    person.types("keys", "revoke", gone)

    keys = person.reads("keys", "list")["keys"]
    assert [(k["tenant"], k["name"], k["models"], k["source"]) for k in keys] == [
        ("acme", "desk", ["chat"], "file"),
        ("beta", "ci", ["chat", "embed"], "store"),
    ]
    every = person.reads("keys", "list", "--all", "--tenant", "acme")["keys"]
    assert [(k["name"], k["standing"]) for k in every] == [("desk", "valid"), ("old", "revoked")]
    names = ("tenant", "keys_in_file", "keys_in_store", "models", "month_tokens")
    assert [tuple(row[name] for name in names) for row in person.reads("tenants", "list")["tenants"]] == [
        ("acme", 1, 0, ["chat"], 0),
        ("beta", 0, 1, None, 0),
    ]


def test_a_key_has_limits_and_a_class_that_can_be_changed(person: Person) -> None:
    limits = ["--requests-per-minute", "1_000", "--cost-per-month", "12.5", "--class", "batch"]
    made = person.reads("keys", "create", "--tenant", "beta", "--name", "ci", *limits)["record"]
    assert (made["class"], made["limits"]) == ("batch", {"requestsPerMinute": 1000, "costPerMonth": 12.5})

    changes = ["--requests-per-minute", "none", "--concurrent", "0", "--class", "none"]
    code, out, err = person.types("keys", "set", made["id"], *changes)

    assert (code, out) == (0, "")
    assert "0 at once" in err
    (key,) = person.reads("keys", "list", "--tenant", "beta")["keys"]
    assert (key["class"], key["limits"]) == (None, {"concurrentRequests": 0, "costPerMonth": 12.5})
    new = person.reads("keys", "rotate", made["id"])["record"]
    assert new["limits"] == key["limits"]
    _, out, _ = person.types("keys", "list", "--tenant", "beta")
    assert "12.5 USD/month" in out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ([], "Nothing was named to change"),
        (["--class", "vip"], "no class 'vip'"),
        (["--concurrent", "few"], "'few' is no number"),
        (["--concurrent", "-1"], "greater than or equal to 0"),
        (["--tokens-per-month", "1.5"], "'1.5' is no number"),
    ],
)
def test_a_change_that_cant_be_is_refused_and_changes_nothing(person: Person, change: list[str], words: str) -> None:
    made = person.reads("keys", "create", "--tenant", "beta", "--name", "ci", "--concurrent", "3")["record"]

    code, _, err = person.types("keys", "set", made["id"], *change)

    assert code == 2
    assert words in " ".join(err.split())
    (key,) = person.reads("keys", "list", "--tenant", "beta")["keys"]
    assert key["limits"] == {"concurrentRequests": 3}
    revoked = person.types("keys", "revoke", made["id"])
    assert revoked[0] == 0
    assert "is revoked" in person.types("keys", "set", made["id"], "--concurrent", "1")[2]


def test_a_rotation_prints_the_new_key_and_says_when_the_old_one_ends(person: Person) -> None:
    first = person.reads("keys", "create", "--tenant", "beta", "--name", "ci")

    code, out, err = person.types("keys", "rotate", first["record"]["id"], "--overlap", "1h")

    assert (code, form_of(out.strip())) == (0, KeyForm.WHOLE)
    assert out.strip() != first["key"]
    assert f"the old key {first['record']['id']} ends at" in err
    keys = {k["id"]: k["successor"] for k in person.reads("keys", "list", "--tenant", "beta")["keys"]}
    (new,) = keys.keys() - {first["record"]["id"]}
    assert keys == {first["record"]["id"]: new, new: None}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("keys", "create", "--tenant", "A!", "--name", "ci"), "no name for a tenant"),
        (("keys", "create", "--tenant", "a", "--name", "ci", "--models", "gone"), "no model 'gone'"),
        (("keys", "create", "--tenant", "a", "--name", "ci", "--expires", "soon"), "no time"),
        (("keys", "rotate", "key_0", "--overlap", "long"), "no span"),
        (("keys", "revoke", "key_0"), "no key 'key_0'"),
    ],
)
def test_a_mistake_is_told_and_exits_2(person: Person, words: tuple[str, ...], told: str) -> None:
    code, out, err = person.types(*words)

    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


def test_looking_makes_no_store(person: Person) -> None:
    person.types("keys", "list")
    person.types("tenants", "list")

    assert [path.name for path in person.folder.iterdir()] == ["fleet.yaml"]


def test_a_fleet_that_serves_anybody_is_told_of(person: Person) -> None:
    person.file.write_text(FLEET.replace("    tenants:", "    auth: {anonymous: true}\n    tenants:"))

    _, _, err = person.types("keys", "create", "--tenant", "beta", "--name", "ci")

    assert "without any key are served too" in err
