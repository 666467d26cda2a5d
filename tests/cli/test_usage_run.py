"""`penstock usage` on a real store and a real journal: sums that are right, in three forms."""

from __future__ import annotations

import asyncio
import csv
import json
import time
from pathlib import Path

import pytest

from penstock.cli.main import main
from penstock.serve.io.ledger.journal import Journal
from penstock.serve.io.stores.usage import UsageStore
from penstock.serve.record import Outcome, RequestRecord
from serve.io.stores.databases import address

FLEET = """\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {name: demo}
spec: {models: [{name: chat}]}
"""
REQUESTS: list[tuple[str, str, Outcome, int]] = [
    ("acme", "chat", "ok", 10),
    ("acme", "chat", "ok", 20),
    ("acme", "embed", "cancelled", 5),
    ("=beta", "chat", "ok", 1),
]
"""Tenant, model, outcome, output tokens; each has 100 prompt tokens and costs 2 micro-dollars for an output token."""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fleet whose first three requests are in the store, and whose last waits in the journal of a gateway."""
    monkeypatch.delenv("PENSTOCK_STATE_DIR", raising=False)
    (tmp_path / "fleet.yaml").write_text(FLEET)
    state = tmp_path / ".penstock" / "demo"
    journal = Journal(state / "ledger", "demo")
    journal.open()

    async def fill() -> None:
        async with UsageStore(address("sqlite:usage.db", state), "demo").writing() as writer:
            for count, (tenant, model, outcome, tokens) in enumerate(REQUESTS):
                record = RequestRecord(time.time(), f"r{count}", tenant=tenant, model=model, key="ci", outcome=outcome)
                record.prompt_tokens, record.output_tokens = 100, tokens
                journal.begin(record, "", 500, 0)
                journal.end(record, 2 * tokens)
                if count < 3 and (cursor := journal.next_ends(10)) is not None:
                    await writer.enter(journal.id, cursor.ends, now=time.time())
                    journal.shipped(cursor)

    asyncio.run(fill())
    return str(tmp_path / "fleet.yaml")


def test_a_program_gets_rows_and_their_total(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", file, "--by", "tenant,model", "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)

    rows = [(r["tenant"], r["model"], r["requests"], r["failed"], r["tokens"], r["cost_micros"]) for r in told["rows"]]
    assert rows == [("=beta", "chat", 1, 0, 101, 2), ("acme", "chat", 2, 0, 230, 60), ("acme", "embed", 1, 1, 105, 10)]
    assert (told["total"]["requests"], told["total"]["tokens"], told["waiting"]) == (4, 436, 1)
    assert told["total"]["cost_usd"] == 0.000072


def test_a_table_ends_with_the_total_and_words_go_to_stderr(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", file]) == 0
    printed = capsys.readouterr()

    lines = [line.split() for line in printed.out.splitlines()]
    assert lines[-1] == ["total", "4", "1", "400", "0", "36", "436", "0.000072"]
    assert "1 requests of these wait" in printed.err


def test_a_spreadsheet_gets_text_where_a_name_looks_like_a_formula(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["usage", file, "--by", "key", "-o", "csv"]) == 0

    head, beta, acme = csv.reader(capsys.readouterr().out.splitlines())
    assert head[:4] == ["tenant", "key_id", "key_name", "requests"]
    assert beta[:4] == ["'=beta", "", "ci", "1"]
    assert acme[:4] == ["acme", "", "ci", "3"]


def test_days_without_use_and_questions_that_cant_be_are_told(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["usage", file, "--since", "2020-01-01", "--until", "2020-01-02", "-o", "json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["rows"] == []
    assert "nothing was used from 2020-01-01 to 2020-01-02" in printed.err
    assert main(["usage", file, "--by", "colour"]) == 2
    assert "colour" in capsys.readouterr().err


def test_a_store_that_is_away_is_told(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    gateway = "  gateway: {store: {url: 'postgresql://u@127.0.0.1:1/p'}}\n"
    Path(file).write_text(
        FLEET.replace("spec: {models: [{name: chat}]}\n", f"spec:\n{gateway}  models: [{{name: chat}}]\n")
    )

    assert main(["usage", file]) == 1
    assert "can't be reached" in " ".join(capsys.readouterr().err.split())
    assert main(["tenants", "list", file]) == 1


def test_tenants_show_this_months_use(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", file, "--tenant", "acme", "--name", "laptop"]) == 0
    capsys.readouterr()

    assert main(["tenants", "list", file, "-o", "json"]) == 0
    (acme,) = json.loads(capsys.readouterr().out)["tenants"]
    assert (acme["tenant"], acme["month_tokens"], acme["month_cost_usd"]) == ("acme", 335, 0.00007)
