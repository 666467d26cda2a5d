from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.simulate.workload import traces
from penstock.simulate.workload.request import TraceRequest
from penstock.simulate.workload.traces import RateTable, read_trace


def requests(text: str) -> list[TraceRequest]:
    content = read_trace(text.splitlines(keepends=True), file="t.csv")
    assert isinstance(content, list)
    return content


def mooncake(timestamp: float, tokens: int = 600, blocks: list[int] | None = None) -> str:
    ids = [1, 2] if blocks is None else blocks
    return json.dumps({"timestamp": timestamp, "input_length": tokens, "output_length": 5, "hash_ids": ids})


def test_a_csv_trace_is_read_in_seconds() -> None:
    assert requests("t_ms,input_tokens,output_tokens\n0.0,4808,10\n52.5,3180,8\n") == [
        TraceRequest(at_s=0.0, prompt_tokens=4808, output_tokens=10),
        TraceRequest(at_s=0.0525, prompt_tokens=3180, output_tokens=8),
    ]


def test_a_class_is_read_and_one_that_is_none_is_told() -> None:
    head = "t_ms,input_tokens,output_tokens,class\n"
    rows = read_trace(f"{head}0,5,5,batch\n1,5,5,\n".splitlines(), file="day.csv")

    assert isinstance(rows, list)
    assert [row.traffic_class for row in rows] == ["batch", ""]
    with pytest.raises(UsageError, match=r"day\.csv:2: class: there is no class 'vip'"):
        read_trace(f"{head}0,5,5,vip\n".splitlines(), file="day.csv")


@pytest.mark.parametrize("who", ["client", "tenant"])
def test_the_sender_column_becomes_the_tenant_wherever_it_stands(who: str) -> None:
    rows = requests(f"t_ms,{who},input_tokens,output_tokens\n1,39,1544,68\n2,14,29,1\n")

    assert [(r.tenant, r.prompt_tokens) for r in rows] == [("39", 1544), ("14", 29)]


def test_rows_come_out_sorted_and_the_first_is_at_zero() -> None:
    rows = requests("t_ms,input_tokens,output_tokens\n9000,3,1\n5000,1,1\n6000,2,1\n")

    assert [(r.at_s, r.prompt_tokens) for r in rows] == [(0.0, 1), (1.0, 2), (4.0, 3)]


def test_blank_lines_and_a_byte_order_mark_do_not_matter() -> None:
    assert len(requests("\ufeff\n\nt_ms,input_tokens,output_tokens\n\n1,2,3\n\n")) == 1


def test_requests_of_one_mooncake_tick_are_spread_over_three_seconds() -> None:
    rows = requests("\n".join(mooncake(t) for t in (0, 0, 0, 3000, 3000, 9000)))

    assert [r.at_s for r in rows] == [0.0, 1.0, 2.0, 3.0, 4.5, 9.0]
    assert rows[0].prefix_blocks == (1, 2)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_spreading_ticks_keeps_the_order_of_ticks_and_moves_nobody_by_a_tick(ticks: list[int]) -> None:
    stamps = sorted(t * 3000 - (t % 2) for t in ticks if t) or [0]  # ticks are not exact: 5999 for 6000

    rows = requests("\n".join(mooncake(t) for t in stamps))

    assert all(a.at_s <= b.at_s for a, b in pairwise(rows))
    assert all(-1e-9 <= row.at_s - (t - stamps[0]) / 1000 < 3.0 for row, t in zip(rows, stamps, strict=True))


def test_a_table_of_rates_keeps_its_holes() -> None:
    table = read_trace(["t_s,m-small,r1\n", "0,800.5,14.8\n", "600,700,\n"], file="r.csv")

    assert isinstance(table, RateTable)
    assert table.column("m-small") == ((0.0, 800.5), (600.0, 700.0))
    assert table.column("r1") == ((0.0, 14.8),)
    assert table.column(None) == table.column("m-small")


def test_an_unknown_column_of_rates_is_answered_with_the_known_ones() -> None:
    table = read_trace(["t_s,a,b", "0,1,2"], file="r.csv")
    assert isinstance(table, RateTable)

    with pytest.raises(UsageError, match=r"no column 'c'\n.*columns: a, b"):
        table.column("c")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the trace is empty"),
        ("\n \n", "the trace is empty"),
        ("hello,world\n1,2", r"t.csv:1: not a trace header: hello,world"),
        ("t_ms,input_tokens,output_tokens", "a header and no rows"),
        ("t_ms,input_tokens,output_tokens\n1,2,3\n4,five,6", r"t.csv:3: input_tokens: 'five' is not a number"),
        ("t_ms,input_tokens,output_tokens\n1,2", r"t.csv:2: 2 cells in a row, the header has 3 columns"),
        ("t_ms,input_tokens,output_tokens\nnan,2,3", r"t.csv:2: t_ms: 'nan' is not a number"),
        ("t_ms,input_tokens,output_tokens\n1,-2,3", r"t.csv:2: input_tokens: '-2' is not a number of 0 or more"),
        ("t_ms,input_tokens,output_tokens\n1,2.5,3", r"t.csv:2: input_tokens: '2.5' is not a whole number"),
        (mooncake(0) + "\n{oops", r"t.csv:2: not JSON"),
        (mooncake(0) + "\n[1]", r"t.csv:2: a JSON object is expected on each line, found list"),
        ('{"timestamp": 1}', r"t.csv:1: 'input_length' is missing"),
        (mooncake(0, blocks=[1, 2, 3]), r"t.csv:1: 3 hash_ids, but 600 tokens make 2 blocks of 512"),
        ('{"timestamp":0,"input_length":1,"output_length":1,"hash_ids":["a"]}', "hash_ids must be a list of whole"),
        ('{"timestamp":true,"input_length":1,"output_length":1}', r"t.csv:1: timestamp: True is not a number"),
        ("t_s,a\n0,1\n0,2", r"t.csv:3: t_s 0 does not come after the row before"),
        ("t_s,a\n0,1,2", r"t.csv:2: 3 cells in a row, the header has 2 columns"),
        ("t_s,a\n0,x", r"t.csv:2: a: 'x' is not a number"),
        ("t_s,a", "a header and no rows"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_trace(text.splitlines(), file="t.csv")


def test_a_trace_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "ROWS_MAX", 2)

    with pytest.raises(UsageError, match="more than 2 rows"):
        requests("t_ms,input_tokens,output_tokens\n" + "1,2,3\n" * 3)
