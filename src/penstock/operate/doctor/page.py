"""The page of all rules, from their own words. Pure.

`penstock doctor --page` prints it; a test holds `docs/doctor.md` to it.
"""

from __future__ import annotations

from penstock.operate.doctor.findings import Rule
from penstock.operate.doctor.table import ROWS, RULES

__all__ = ["explained", "rules_page"]

_HEAD = """\
# penstock doctor

<!-- penstock: ignore-file PS326, PS333, PS334, PS335 the page quotes what is wrong -->

*Written by `penstock doctor --page` from the rules in `src/penstock/operate/doctor/rules`; edit those.*

`penstock doctor PATH…` reads manifests, Helm values, scripts, Markdown, logs and `kubectl get … -o yaml` (files,
folders, `-` for stdin) and says what will go wrong, where, what follows from it and how to mend it. It needs no
cluster and no fleet file. `penstock doctor --live` looks at a cluster itself.

```
kubectl get all,pvc,pdb,hpa,events -A -o yaml | penstock doctor -
penstock doctor deploy/ --fail-on warning
penstock doctor values.yaml --fix --diff
penstock doctor deploy/ --output sarif > doctor.sarif
penstock doctor --live --namespace llm
penstock doctor --live --all-namespaces --context prod --fail-on never --output json
penstock doctor --live --namespace llm --fleet chat
```

- Exit code: 0 nothing as grave as `--fail-on` (default `error`), 1 something is, 2 a wrong command line.
- `--select PS002,PS1` and `--ignore PS039` choose rules by code, id or group; `--severity warning` hides the lesser.
- `# penstock: ignore PS039 we mirror this image` on a line, or on the line above, waves one finding through;
  `# penstock: ignore-file PS039` the whole file's.
- `--fix` edits files where that is safe, keeps comments and layout, shows the difference and asks first.
- `--engine-version 0.32.0` is taken where an image does not tell its version.
- `--live` lists workloads, pods, events, Services, scalers, budgets, volumes, nodes, monitors and what else the rules
  look at, page by page, and the last 500 lines of containers that crash, restarted or are not ready (40 logs at most).
  It changes nothing. Of Secrets only whether they are there is asked, as a table without their content. What may not
  be read is said on stderr (`unread` in JSON) and the rest is checked; a kind that does not come within two minutes is
  said to be cut. Places are `namespace/Kind/name` and the field. Replicas that say the same are one finding.
- `--live` needs `list` on these kinds, `get` on `pods/log` and, for the last question only, on `secrets`; `--context`,
  `--namespace` (default: the context's) or `--all-namespaces`, and `--fleet` choose what is looked at. Files may be
  named beside it: both are judged together.
- What the file does not say is not guessed: without a node selector that names the GPU, 80 GB cards are taken and the
  finding says so; a model whose shape is not known is judged by the size in its name, or not at all.

**error**: it does not work, or breaks for certain. **warning**: it hurts when something else happens. **info**: could
be better, or is said wrongly.
"""


def rules_page() -> str:
    """The whole page as Markdown."""
    parts = [_HEAD, *(_section(rule) for rule in RULES), _rows()]
    return "\n".join(parts).rstrip() + "\n"


def _section(rule: Rule) -> str:
    live = " · from a cluster, its dump or a log" if rule.is_live else ""
    lines = [
        f"## {rule.id}",
        "",
        f"**{rule.title}** ({rule.severity.value}{live})",
        "",
        rule.consequence,
        "",
        f"Fix: {rule.fix}",
        "",
    ]
    return "\n".join(lines)


def _rows() -> str:
    """Which rule sees which of the guides' mistakes."""
    lines = ["## The guides' mistakes", "", "Rows of the field guides' table, and the rules that see them.", ""]
    lines += ["| row | rules |", "|--:|---|"]
    lines += [f"| {row} | {', '.join(f'[{i}](#{i.lower()})' for i in ids)} |" for row, ids in ROWS.items()]
    return "\n".join([*lines, ""])


def explained(rule: Rule) -> str:
    """One rule for a terminal."""
    rows = f"\nField guide rows: {', '.join(str(row) for row in rule.rows)}" if rule.rows else ""
    return (
        f"{rule.id} ({rule.severity.value}): {rule.title}\n\n{rule.consequence}\n\nFix: {rule.fix}\n{rows}\n{rule.url}"
    )
