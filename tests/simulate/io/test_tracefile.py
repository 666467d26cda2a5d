from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from penstock.errors import UsageError
from penstock.simulate.io.tracefile import load_trace
from penstock.simulate.workload import RateTable

CSV = "t_ms,input_tokens,output_tokens\n0,5,1\n10,6,2\n"
RECORDED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "traces"


def test_plain_and_gzip_files_read_alike_whatever_their_name(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.csv.gz", tmp_path / "b.csv"
    plain.write_text(CSV)
    packed.write_bytes(gzip.compress(CSV.encode()))

    assert load_trace(plain) == load_trace(packed)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00\x01", "not a text file"),
        (gzip.compress((CSV + "20,7,3\n" * 100).encode())[:-9], "broken or cut short"),
        (b"\x1f\x8b nonsense", "broken or cut short"),
        (b"", "the trace is empty"),
    ],
    ids=["not text", "cut gzip", "no gzip", "empty"],
)
def test_a_broken_file_is_named_with_its_trouble(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)

    with pytest.raises(UsageError, match=f"t.csv: .*{said}"):
        load_trace(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent.csv: cannot be read: No such file"):
        load_trace(tmp_path / "absent.csv")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_trace(tmp_path)


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded traces are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "rows", "prompt_p50", "output_p50"),
    [
        ("burst_hour_code_azure2023.csv.gz", 8_819, 1_469, 13),
        ("hour_conv_azure2023.csv.gz", 19_366, 1_020, 129),
        ("day_language_servegen_msmall.csv.gz", 136_975, 46, 3),
        ("prefix_conversation_mooncake.jsonl.gz", 12_031, 6_909, 350),
        ("tenants_arena_vtc.csv.gz", 1_500, None, None),
    ],
)
def test_recorded_traces_are_read_whole(name: str, rows: int, prompt_p50: int | None, output_p50: int | None) -> None:
    trace = load_trace(RECORDED / name)

    assert isinstance(trace, list)
    assert len(trace) == rows
    assert trace[0].at_s == 0.0
    if prompt_p50 is not None:
        assert sorted(r.prompt_tokens for r in trace)[rows // 2] == prompt_p50
        assert sorted(r.output_tokens for r in trace)[rows // 2] == output_p50


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded traces are not beside this checkout")
def test_recorded_rates_are_read_with_their_holes() -> None:
    table = load_trace(RECORDED / "diurnal_rates_10min.csv.gz")

    assert isinstance(table, RateTable)
    assert len(table.column("m-small")) == 2_016
    assert len(table.column("deepseek-r1")) == 144


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded traces are not beside this checkout")
def test_recorded_conversations_share_a_third_of_their_blocks() -> None:
    trace = load_trace(RECORDED / "prefix_conversation_mooncake.jsonl.gz")

    assert isinstance(trace, list)
    seen: set[int] = set()
    shared = 0
    for request in trace:
        shared += sum(block in seen for block in request.prefix_blocks)
        seen.update(request.prefix_blocks)
    assert shared / sum(len(r.prefix_blocks) for r in trace) == pytest.approx(0.366, abs=0.002)
