"""An engine's metrics text is read for the few values needed, and nothing in it can break the reading."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.routing.endpoints import EngineSample
from penstock.serve.wire.prometheus import parse_engine_metrics

RECORDED = Path(__file__).resolve().parents[3].parent / "shared" / "reference" / "vllm-api"


def recorded(name: str) -> bytes:
    path = RECORDED / name
    if not path.is_file():
        pytest.skip("recorded answers of real vLLM are not here (a folder `shared` beside the project)")
    return path.read_bytes()


def test_real_vllm_s_text_is_read() -> None:
    assert parse_engine_metrics(recorded("metrics-after-A.txt"), 5.0) == EngineSample(
        at=5.0,
        prompt_tokens_total=18834,
        generation_tokens_total=6429,
        prefix_queries_total=18822,
        prefix_hits_total=10112,
        steps_total=3228,
        kv_tokens=131072,
    )


def test_data_parallel_engines_behind_one_port_are_summed() -> None:
    sample = parse_engine_metrics(recorded("metrics-dp2.txt"), 5.0)
    assert sample is not None
    assert (sample.prompt_tokens_total, sample.generation_tokens_total) == (8671, 2660)
    assert sample.prefix_hits_total == 4864
    assert sample.steps_total == 975 + 842


def test_kv_usage_of_several_engines_is_their_mean() -> None:
    text = b'vllm:kv_cache_usage_perc{engine="0"} 0.2\nvllm:kv_cache_usage_perc{engine="1"} 0.6\n'
    sample = parse_engine_metrics(text, 0.0)
    assert sample is not None
    assert sample.kv_usage == pytest.approx(0.4)


@pytest.mark.parametrize(
    "line",
    [
        b'vllm:num_requests_running{engine="0",model_name="m"} 3.0',
        b'vllm:num_requests_running{model_name="m",engine="0"} 3',
        b'vllm:num_requests_running{model_name="a} b{ \\"c"} 3e0',
        b'vllm:num_requests_running{model_name="m"} 3.0 1767225600000',
        b"vllm:num_requests_running 3.0",
        b"vllm:num_requests_running\t3.0",
        b'# HELP vllm:num_requests_running x\nvllm:num_requests_running_by_x 9\nvllm:num_requests_running{a="b"} 3',
    ],
)
def test_labels_timestamps_and_like_names_do_not_matter(line: bytes) -> None:
    for text in (line, line + b"\n", b"# first\n" + line + b"\nlast 1\n"):
        sample = parse_engine_metrics(text, 0.0)
        assert sample is not None
        assert sample.running == 3


@pytest.mark.parametrize("value", [b"NaN", b"+Inf", b"-Inf", b"", b"three"])
def test_a_value_that_is_no_number_keeps_what_was_known(value: bytes) -> None:
    before = EngineSample(at=1.0, running=7, kv_usage=0.5, generation_tokens_total=70)
    text = b"vllm:num_requests_waiting 2\nvllm:num_requests_running " + value + b"\n"
    sample = parse_engine_metrics(text, 2.0, before)
    assert sample == EngineSample(at=2.0, running=7, waiting=2, kv_usage=0.5, generation_tokens_total=70)


def test_a_text_that_holds_nothing_of_an_engine_is_no_reading() -> None:
    assert parse_engine_metrics(b"python_info 1\n", 0.0, EngineSample(at=0.0, running=7)) is None
    assert parse_engine_metrics(b"", 0.0) is None


def test_a_share_outside_zero_to_one_is_brought_inside() -> None:
    for value, expected in ((b"1.7", 1.0), (b"-3", 0.0)):
        sample = parse_engine_metrics(b"vllm:kv_cache_usage_perc " + value, 0.0)
        assert sample is not None
        assert sample.kv_usage == expected


@given(st.lists(st.sampled_from([b"vllm:num_requests_running", b"{", b"}", b" ", b"\n", b"1", b"\xff", b'"', b"e9"])))
def test_no_bytes_raise(parts: list[bytes]) -> None:
    parse_engine_metrics(b"".join(parts), 0.0)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5), st.booleans())
def test_what_is_written_is_what_is_read(values: list[int], has_end: bool) -> None:
    lines = [b'vllm:generation_tokens_total{engine="%d"} %d.0' % pair for pair in enumerate(values)]
    sample = parse_engine_metrics(b"\n".join(lines) + (b"\n" if has_end else b""), 0.0)
    assert sample is not None
    assert sample.generation_tokens_total == sum(values)


def test_the_size_of_the_kv_cache_is_read_as_the_engine_counts_it_else_from_its_blocks() -> None:
    counted = b'vllm:cache_config_info{block_size="16",kv_cache_size_tokens="896912",num_gpu_blocks="56057"} 1.0\n'
    by_blocks = b'vllm:cache_config_info{block_size="128",engine="0",num_gpu_blocks="100"} 1.0\n'
    unknown = b'vllm:cache_config_info{block_size="None",num_gpu_blocks="None"} 1.0\n'
    sizes = []
    for line in (counted, by_blocks + by_blocks, unknown):
        sample = parse_engine_metrics(b"vllm:num_requests_running 1\n" + line, 0.0)
        assert sample is not None
        sizes.append(sample.kv_tokens)
    assert sizes == [896912, 2 * 12800, 0]


def test_adapters_are_those_of_the_latest_line() -> None:
    text = (
        b"vllm:num_requests_running 1\n"
        b'vllm:lora_requests_info{max_lora="4",running_lora_adapters="old",waiting_lora_adapters=""} 100.0\n'
        b'vllm:lora_requests_info{max_lora="4",running_lora_adapters="sql,poet",waiting_lora_adapters="law"} 200.5\n'
    )
    sample = parse_engine_metrics(text, 0.0)
    assert sample is not None
    assert sample.adapters == ("law", "poet", "sql")


def test_a_line_that_moved_or_vanished_is_found_all_the_same() -> None:
    places: dict[bytes, int] = {}
    for padding in (0, 10, 100_000, 5):
        text = b"# " + b"x" * padding + b'\nvllm:num_requests_running{engine="0"} %d\n' % padding
        sample = parse_engine_metrics(text, 0.0, places=places)
        assert sample is not None
        assert sample.running == padding
    assert parse_engine_metrics(b"nothing of an engine\n", 0.0, places=places) is None


def test_an_engine_that_does_not_say_how_many_wait_is_known_as_such() -> None:
    told = parse_engine_metrics(b"vllm:num_requests_waiting 0\n", 1.0)
    untold = parse_engine_metrics(b"vllm:num_requests_running 1\n", 2.0, told)
    assert told is not None
    assert untold is not None
    assert (told.tells_waiting, untold.tells_waiting) == (True, False)
