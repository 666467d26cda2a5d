from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.simulate_asks import SimulateOptions, read_asks
from penstock.cli.simulate_run import run_all

FLEET = """\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {name: shop}
spec:
  models:
    - {name: chat, source: Qwen/Qwen3-8B, contextLength: 4096}
"""


@pytest.mark.parametrize("is_terminal", [False, True])
def test_each_scenario_gets_the_same_traffic_and_a_bar_only_on_a_terminal(
    is_terminal: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET, encoding="utf-8")
    asked = read_asks(
        SimulateOptions(
            file=str(path), profile="poisson", rate=20.0, duration_s=5.0, input_tokens="100", replicas=("1", "2")
        )
    )

    reports = run_all(asked)

    assert [report.scenario.replicas for report in reports] == [1, 2]
    assert reports[0].requests == reports[1].requests > 50
    assert reports[0].prompt_tokens == reports[1].prompt_tokens
    out, err = capsys.readouterr()
    assert out == ""
    assert ("%" in err) == is_terminal
