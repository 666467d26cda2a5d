"""Rules on commands in scripts, pages and Dockerfiles: kubectl, helm, nvidia-smi. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.operate.doctor.case import Case
from penstock.operate.doctor.findings import Hit, Rule, Severity
from penstock.operate.doctor.shell import Command

__all__ = ["RULES"]

_VALUED = frozenset(
    {"-n", "--namespace", "--context", "--kubeconfig", "-f", "--values", "--set", "--version", "--repo", "-o"}
)


def _verbs(command: Command) -> list[str]:
    """The words that are no flags, the program first."""
    found: list[str] = []
    skips = False
    for word in command.texts:
        if skips:
            skips = False
        elif word.startswith("-"):
            skips = word in _VALUED
        else:
            found.append(word)
    return found


def _get_server_side(case: Case) -> Iterator[Hit]:
    for command in case.commands:
        if command.program not in ("kubectl", "oc", "k") or _verbs(command)[1:2] not in (
            ["get"],
            ["describe"],
            ["top"],
        ):
            continue
        for word in command.words:
            if word.text.split("=")[0] in ("--server-side",):
                yield Hit(
                    where=command.where(word),
                    message=f"`kubectl {_verbs(command)[1]}` has no {word.text}",
                    evidence=command.shown,
                )


def _run_limits(case: Case) -> Iterator[Hit]:
    for command in case.commands:
        if command.program not in ("kubectl", "oc", "k") or _verbs(command)[1:2] != ["run"]:
            continue
        for word in command.words:
            if word.text == "--":
                break
            if word.text.split("=")[0] in ("--limits", "--requests"):
                yield Hit(
                    where=command.where(word),
                    message=f"`kubectl run` has no {word.text.split('=')[0]}",
                    evidence=command.shown,
                )
                break


def _helm_install_flag(case: Case) -> Iterator[Hit]:
    for command in case.commands:
        if command.program == "helm" and _verbs(command)[1:2] == ["install"]:
            for word in command.words:
                if word.text in ("--install", "-i", "--install=true"):
                    yield Hit(
                        where=command.where(word), message=f"`helm install` has no {word.text}", evidence=command.shown
                    )


def _wrong_chart(case: Case) -> Iterator[Hit]:
    for command in case.commands:
        verbs = _verbs(command)
        if command.program == "helm" and verbs[1:2] in (["install"], ["upgrade"]) and len(verbs) > 3:
            chart = verbs[3]
            if chart in ("vllm", "vllm/vllm", "vllm-stack") and "--repo" not in command.texts:
                yield Hit(
                    where=command.where(),
                    message=f"there is no chart {chart!r}: the production stack's is vllm/vllm-stack",
                    evidence=command.shown,
                )
    for resource in case.resources:
        for node in resource.root.walk() if "repoURL" in resource.keys else ():
            if (
                isinstance(node.value, dict)
                and "production-stack" in node["repoURL"].text
                and node["chart"].text not in ("", "vllm-stack")
            ):
                yield Hit(
                    where=node["chart"].where,
                    message=f"the production stack has no chart {node['chart'].text!r}",
                    evidence=node["chart"].shown,
                    fix="chart: vllm-stack",
                    edits=node["chart"].replaced("vllm-stack"),
                )


def _mig_by_hand(case: Case) -> Iterator[Hit]:
    for command in case.commands:
        if command.program != "nvidia-smi":
            continue
        words = command.texts
        is_cut = "mig" in words and any(re.match(r"-(cgi|cci|dgi|dci)\b", w) for w in words)
        is_mode = any(w in ("-mig", "--multi-instance-gpu") for w in words)
        if is_cut or is_mode:
            profile = next((words[n + 1] for n, w in enumerate(words[:-1]) if w == "-cgi"), "")
            what = (
                "; profile 19 is the smallest slice: 1g.5gb of an A100 40GB, 1g.10gb of an 80 GB GPU"
                if re.match(r"19\b", profile)
                else ""
            )
            yield Hit(where=command.where(), message=f"MIG is set by hand{what}", evidence=command.shown)


RULES = (
    Rule(
        id="PS001-get-server-side",
        title="`kubectl get` has no `--server-side`",
        severity=Severity.ERROR,
        rows=(1,),
        consequence="The command fails (unknown flag). The flag is `apply`'s; the API server already filters by label.",
        fix="Drop it; `-l`, `--field-selector` and `--chunk-size` are what makes a list short.",
        check=_get_server_side,
    ),
    Rule(
        id="PS043-kubectl-run-limits",
        title="`kubectl run` has no `--limits`",
        severity=Severity.ERROR,
        rows=(43,),
        consequence="The flag went with Kubernetes 1.24: the command fails, and the GPU is never tried.",
        fix="Use `--overrides` with the resources, or a small manifest.",
        check=_run_limits,
    ),
    Rule(
        id="PS046-helm-install-flag",
        title="`helm install` has no `--install`",
        severity=Severity.ERROR,
        rows=(46,),
        consequence="The command fails (unknown flag): `--install` is a flag of `helm upgrade`.",
        fix="`helm upgrade --install RELEASE CHART`.",
        check=_helm_install_flag,
    ),
    Rule(
        id="PS147-wrong-chart",
        title="The production stack's chart is called `vllm/vllm-stack`",
        severity=Severity.ERROR,
        rows=(46,),
        consequence="Helm finds no such chart and installs nothing.",
        fix="`helm repo add vllm https://vllm-project.github.io/production-stack`, then the chart `vllm/vllm-stack`.",
        check=_wrong_chart,
    ),
    Rule(
        id="PS146-mig-by-hand",
        title="MIG is set by hand on a node",
        severity=Severity.WARNING,
        rows=(44,),
        consequence="The GPU operator's MIG manager overwrites it, and nobody else knows of it.",
        fix="Label the node, as in `nvidia.com/mig.config=all-1g.10gb`, and let the operator cut.",
        check=_mig_by_hand,
    ),
)
