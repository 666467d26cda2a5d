"""Prometheus' own judge for tests: what rules and queries answer to series that a test makes up.

    assert_answers(EXPR, series, at="2m", [Sample({"model": "chat"}, 3)])
    assert_firing(site, series, at="1h", {"PenstockEngineDown"})

Tests that use it skip where `promtool` is not installed (Debian: the package `prometheus`).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from penstock.plan.manifests import Site
from penstock.plan.manifests.monitoring.rules import rules

__all__ = ["Sample", "assert_answers", "assert_firing", "groups_of", "lint", "needs_promtool", "recorded_with"]

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: package prometheus)")


@dataclass(frozen=True, slots=True)
class Sample:
    """One element of an answer."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    @property
    def body(self) -> dict[str, Any]:
        pairs = ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(self.labels.items()))
        return {"labels": f"{self.name}{{{pairs}}}", "value": self.value}


def groups_of(site: Site) -> list[dict[str, Any]]:
    """The rule groups of a site, recorded series first."""
    return [group for manifest in rules(site) for group in manifest.object["spec"]["groups"]]


def lint(groups: Iterable[Mapping[str, Any]]) -> str:
    """What `promtool check rules` has against them; empty where nothing."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rules.json")
        file.write_text(json.dumps({"groups": list(groups)}))
        done = _promtool("check", "rules", "--lint=all", "--lint-fatal", str(file))
    return "" if done.returncode == 0 and "FAILED" not in done.stderr else done.stdout + done.stderr


def assert_answers(
    expr: str,
    series: Mapping[str, str],
    expected: list[Sample],
    *,
    at: str = "5m",
    step: str = "15s",
    every: str | None = None,
    groups: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Holds a query's whole answer to what is expected.

    `series` are values by selector, one each `step`; rules are evaluated as often, or `every` so long.
    """
    check = {"expr": expr, "eval_time": at, "exp_samples": [sample.body for sample in expected]}
    _run(series, [check], step=step, every=every, groups=groups)


def assert_firing(
    site: Site, series: Mapping[str, str], expected: set[str], *, at: str, step: str = "1m", only: str = ""
) -> None:
    """Holds the set of all alerts that fire at a time to what is expected; `only` is a pattern of groups' names."""
    check = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"}) > bool 0',
        "eval_time": at,
        "exp_samples": [Sample(1, {"alertname": name}).body for name in sorted(expected)],
    }
    groups = [group for group in groups_of(site) if re.search(only, group["name"])]
    _run(series, [check], step=step, groups=groups)


def recorded_with(
    site: Site, series: Mapping[str, str], answers: Mapping[str, list[Sample]], *, at: str, step: str = "1m"
) -> None:
    """Holds several answers over a site's recorded series at once."""
    checks = [
        {"expr": expr, "eval_time": at, "exp_samples": [sample.body for sample in expected]}
        for expr, expected in answers.items()
    ]
    _run(series, checks, step=step, groups=groups_of(site))


def _run(
    series: Mapping[str, str],
    checks: list[dict[str, Any]],
    *,
    step: str,
    groups: Iterable[Mapping[str, Any]],
    every: str | None = None,
) -> None:
    plain = [{key: value for key, value in group.items() if key != "interval"} for group in groups]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "rules.json").write_text(json.dumps({"groups": plain}))
        test: dict[str, Any] = {
            "rule_files": ["rules.json"] if plain else [],
            "group_eval_order": [group["name"] for group in plain],  # else in any order
            "evaluation_interval": every or step,
            "tests": [
                {
                    "interval": step,
                    "input_series": [{"series": name, "values": values} for name, values in series.items()],
                    "promql_expr_test": checks,
                }
            ],
        }
        Path(folder, "test.json").write_text(json.dumps(test))
        done = _promtool("test", "rules", str(Path(folder, "test.json")))
    assert done.returncode == 0, done.stdout + done.stderr


def _promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=120, check=False)
