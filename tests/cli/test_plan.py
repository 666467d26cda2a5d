"""`penstock plan`: streams, exit codes, JSON, refusals at their place."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.main import main

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FLEET = """\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {name: two}
spec:
  hardware: {gpus: [L40S, H100, H200], usdPerGpuHour: {H100: 2.5}}
  models:
    - name: chat
      source: Qwen/Qwen3-8B
      objectives: {ttftMs: 500}
      demand: {requestsPerS: 5}
    - name: embed
      source: Qwen/Qwen3-Embedding-0.6B
    - {name: far, endpoints: ["http://a:1"]}
"""


@pytest.fixture
def fleet(tmp_path: Path) -> str:
    (tmp_path / "two.yaml").write_text(FLEET, encoding="utf-8")
    return str(tmp_path / "two.yaml")


def planned(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> dict[str, Any]:
    assert main(["plan", *args, "-o", "json"]) == code
    record: dict[str, Any] = json.loads(capsys.readouterr().out)
    return record


def test_a_fleet_is_planned_on_stdout_and_the_rest_said_on_stderr(
    fleet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", fleet]) == 0

    out, err = capsys.readouterr()
    for words in (
        "Run it on",
        "Memory of each GPU",
        "KV cache",
        "Why",
        "Runners-up",
        "What would change it",
        "The fleet",
    ):
        assert words in out
    assert "far: runs elsewhere" in err


def test_json_has_every_model_and_the_total(fleet: str, capsys: pytest.CaptureFixture[str]) -> None:
    record = planned(capsys, fleet)

    assert [model["name"] for model in record["models"]] == ["chat", "embed"]
    assert record["skipped"] == ["far"]
    assert record["refused"] == []
    assert record["usd_per_hour"] == pytest.approx(sum(m["cost"]["usd_per_hour"] for m in record["models"]))
    assert "H100: as you say" in record["prices"]


def test_one_model_of_a_file_is_planned_alone(fleet: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert [m["name"] for m in planned(capsys, fleet, "--model", "embed")["models"]] == ["embed"]
    assert main(["plan", fleet, "--model", "nobody"]) == 2
    assert "it has chat, embed, far" in capsys.readouterr().err


def test_a_model_needs_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    (model,) = planned(
        capsys,
        "--model",
        "Qwen/Qwen3-8B",
        "--gpu",
        "H100",
        "--context",
        "8192",
        "--rate",
        "5",
        "--objective",
        "ttft=1s",
    )["models"]

    assert model["choice"]["gpu"] == "H100"
    assert model["choice"]["context_tokens"] == 8192
    assert model["demand"]["requests_per_s"] == 5
    assert model["objectives"]["ttft_ms"] == 1000


def test_options_hold_over_the_file(fleet: str, capsys: pytest.CaptureFixture[str]) -> None:
    (model,) = planned(capsys, fleet, "--model", "chat", "--gpu", "H200", "--rate", "50", "--price", "H200=1")["models"]

    assert (model["choice"]["gpu"], model["demand"]["requests_per_s"]) == ("H200", 50)
    assert model["cost"]["usd_per_gpu_hour"] == 1


def test_a_trace_gives_the_demand(fleet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{at * 100},{1000 + at % 7},{50}\n" for at in range(3000))
    with gzip.open(tmp_path / "day.csv.gz", "wt", encoding="utf-8") as trace:
        trace.write(f"t_ms,input_tokens,output_tokens\n{rows}")

    by_option = planned(capsys, fleet, "--model", "chat", "--trace", str(tmp_path / "day.csv.gz"))["models"][0]
    text = FLEET.replace("{requestsPerS: 5}", "{trace: day.csv.gz}")
    (tmp_path / "traced.yaml").write_text(text, encoding="utf-8")
    by_file = planned(capsys, str(tmp_path / "traced.yaml"), "--model", "chat")["models"][0]

    assert by_option == by_file
    assert by_file["demand"]["requests_per_s"] == pytest.approx(10, rel=0.02)
    assert by_file["demand"]["prompt_tokens_mean"] == pytest.approx(1003, abs=1)


def test_a_refusal_names_line_and_field_and_the_others_are_planned(
    fleet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = FLEET.replace("source: Qwen/Qwen3-8B", "source: Qwen/Qwen3-8B\n      contextLength: 99999")
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")

    assert main(["plan", str(tmp_path / "bad.yaml")]) == 2

    out, err = capsys.readouterr()
    assert "bad.yaml:9:22: spec.models[0].contextLength: 99,999 tokens is beyond" in err
    assert "1 problem in the fleet file" in err
    assert "Qwen3-Embedding" in out


def test_refusals_are_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = planned(capsys, "--model", "Qwen/Qwen3-8B", "--tp", "3", "--gpu", "H100", code=2)

    assert record["models"] == []
    assert record["refused"][0]["field"] == "--tp"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "nothing to plan for"),
        (("--model", "Qwen/Qwen3-8C"), "did you mean Qwen/Qwen3-8B"),
        (("--model", "Qwen/Qwen3-8B", "--gpu", "H900"), "did you mean"),
        (("--model", "Qwen/Qwen3-8B", "--gpu", "H100", "--count", "4", "--tp", "2"), "2 of 4 GPUs would stand idle"),
        (
            ("--model", "Qwen/Qwen3-8B", "--gpu", "A100", "--quantization", "fp8"),
            "--quantization: A100-80GB has no FP8",
        ),
        (("--model", "Qwen/Qwen3-8B", "--objective", "ttft=1ms"), "--objective ttft: TTFT of 1 ms cannot be promised"),
        (("--model", "Qwen/Qwen3-8B", "--objective", "speed=3"), "not an objective"),
        (("--model", "Qwen/Qwen3-8B", "--price", "H100=free"), "not a price"),
        (("--model", "Qwen/Qwen3-8B", "--calibration", "x.json"), "for which GPU?"),
        (("--model", "Qwen/Qwen3-8B", "--plot", "plan.png"), "drawn as SVG"),
        (("--model", "Qwen/Qwen3-8B", "--trace", "no.csv"), "cannot be read"),
    ],
)
def test_what_cannot_be_planned_is_told_in_words(
    args: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *args]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert words in err.replace("\n", " ")
    assert "Traceback" not in err


def test_a_plan_is_drawn(fleet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", fleet, "--plot", str(tmp_path / "plan.svg")]) == 0

    assert (tmp_path / "plan.svg").read_text(encoding="utf-8").startswith("<svg ")
    assert "Run it on" in capsys.readouterr().out


def test_a_folder_with_a_config_is_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": 16,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    text = FLEET.replace("Qwen/Qwen3-8B", str(folder))
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")

    (model,) = planned(capsys, str(tmp_path / "mine.yaml"), "--model", "chat")["models"]
    assert model["parameters"] == pytest.approx(1.5e9, rel=0.05)


def test_a_calibration_is_used_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = json.dumps({"name": "our-h100", "source": "measured", "overheads": {"layer_s": 500e-6}})
    (tmp_path / "cal.json").write_text(text, encoding="utf-8")
    args = ("--model", "Qwen/Qwen3-8B", "--gpu", "H100", "--rate", "1")

    plain = planned(capsys, *args)["models"][0]
    ours = planned(capsys, *args, "--calibration", str(tmp_path / "cal.json"))["models"][0]

    assert ours["calibration"]["name"] == "our-h100"
    assert ours["at_demand"]["itl_p50_ms"]["value"] > 1.5 * plain["at_demand"]["itl_p50_ms"]["value"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_can_be_planned(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = planned(capsys, str(path))

    assert record["refused"] == []
    assert all(model["choice"]["replicas"] >= 1 for model in record["models"])
