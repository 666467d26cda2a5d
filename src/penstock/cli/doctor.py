"""`penstock doctor`: what will go wrong in manifests, values, scripts, logs and clusters, and how to mend it. Starts
nothing, and changes nothing in a cluster.

Exit codes: 0 nothing as grave as `--fail-on`, 1 something is (with `--fix`: is left) or the cluster of `--live` cannot
be reached, 2 wrong usage.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.output import print_json, print_table, print_text
from penstock.errors import UsageError

if TYPE_CHECKING:
    from penstock.operate.doctor import Rule

__all__ = ["register"]


class DoctorOutput(StrEnum):
    """How findings are printed."""

    TABLE = "table"
    JSON = "json"
    SARIF = "sarif"


class Level(StrEnum):
    """A severity; `never` for an exit code that is always 0."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    NEVER = "never"


_Option = typer.Option
_Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH…",
        help="Files, folders, `-` for stdin: manifests, Helm values, kubectl dumps, scripts, Markdown, logs.",
    ),
]
_Output = Annotated[
    DoctorOutput, _Option("--output", "-o", help="A table for people, JSON for programs, SARIF for CI.")
]
_FailOn = Annotated[Level, _Option(help="Exit with 1 when something as grave as this is found.")]
_Severity = Annotated[Level, _Option(help="Show nothing less grave than this.")]
_Select = Annotated[
    list[str] | None, _Option(metavar="IDS", help="Only these rules: codes, ids or groups (PS2), comma-separated.")
]
_Ignore = Annotated[list[str] | None, _Option(metavar="IDS", help="Not these rules.")]
_Version = Annotated[
    str, _Option(metavar="VERSION", help="vLLM's version where an image does not tell it. Default: the newest known.")
]
_Fix = Annotated[bool, _Option("--fix", help="Mend files where that is safe; shows the difference and asks.")]
_Diff = Annotated[bool, _Option("--diff", help="With --fix: only print the difference.")]
_Yes = Annotated[bool, _Option("--yes", "-y", help="With --fix: do not ask.")]
_List = Annotated[bool, _Option("--list", help="List all rules.")]
_Explain = Annotated[str, _Option(metavar="ID", help="Explain one rule.")]
_Live = Annotated[
    bool, _Option("--live", help="Look at a cluster too: objects, events and logs; never at Secrets. Changes nothing.")
]
_Context = Annotated[
    str | None, _Option(metavar="NAME", help="With --live: context of the kubeconfig. Default: the current one.")
]
_Namespace = Annotated[
    str | None, _Option("--namespace", "-n", metavar="NAME", help="With --live: namespace. Default: the context's.")
]
_Everywhere = Annotated[bool, _Option("--all-namespaces", "-A", help="With --live: every namespace.")]
_Fleet = Annotated[str, _Option(metavar="NAME", help="With --live: only this fleet's objects and what acts on them.")]
_Page = Annotated[bool, _Option("--page", help="Print the page of all rules, as Markdown.", hidden=True)]


def register(app: typer.Typer) -> None:
    """Adds `doctor` to the command line."""
    app.command()(doctor)


def doctor(
    paths: _Paths = None,
    *,
    output: _Output = DoctorOutput.TABLE,
    fail_on: _FailOn = Level.ERROR,
    severity: _Severity = Level.INFO,
    select: _Select = None,
    ignore: _Ignore = None,
    engine_version: _Version = "",
    live: _Live = False,
    context: _Context = None,
    namespace: _Namespace = None,
    all_namespaces: _Everywhere = False,
    fleet: _Fleet = "",
    fix: _Fix = False,
    diff: _Diff = False,
    yes: _Yes = False,
    list_rules: _List = False,
    explain: _Explain = "",
    page: _Page = False,
) -> None:
    """Find what goes wrong in LLM-serving manifests, values, scripts, logs and, with --live, a cluster.

    --fix mends in files what is safe.
    """
    from penstock.cli.doctor_run import Asked, LiveAsked, run  # noqa: PLC0415 — start-up time
    from penstock.operate.doctor import chosen  # noqa: PLC0415 — start-up time

    rules = chosen(_ids(select), _ids(ignore))
    if list_rules or explain or page:
        _tell(rules, output, explain=explain, is_page=page)
        return
    if not paths and not live:
        raise UsageError(
            "nothing to look at",
            hint="penstock doctor FILE_OR_FOLDER, `-` for stdin, or --live for a cluster; --list shows the rules",
        )
    if not live and (context or namespace or all_namespaces or fleet):
        raise UsageError("--context, --namespace, --all-namespaces and --fleet belong to --live")
    if namespace and all_namespaces:
        raise UsageError("--namespace and --all-namespaces contradict each other")
    if live and fix:
        raise UsageError("--fix mends files, and --live looks at a cluster", hint="mend the files, then apply them")
    if severity is Level.NEVER:
        raise UsageError("--severity never would show nothing", hint="error, warning or info")
    if (diff or yes) and not fix:
        raise UsageError("--diff and --yes belong to --fix")
    asked = Asked(
        paths=tuple(paths or ()),
        rules=rules,
        engine_version=_version(engine_version),
        least=severity.value,
        fail_on=fail_on.value,
        output=output.value,
        live=LiveAsked(context=context, namespace=namespace, is_everywhere=all_namespaces, fleet=fleet)
        if live
        else None,
    )
    raise typer.Exit(run(asked, is_fixing=fix, is_diff_only=diff, is_agreed=yes))


def _ids(given: list[str] | None) -> tuple[str, ...]:
    return tuple(name.strip() for part in given or () for name in part.split(",") if name.strip())


def _version(given: str) -> str:
    from penstock.facts.flags import version_key  # noqa: PLC0415 — start-up time

    if given and len(version_key(given)) < 2:
        raise UsageError(f"--engine-version {given!r} is no version", hint="as in 0.32.0")
    return given.removeprefix("v")


def _tell(rules: tuple[Rule, ...], output: DoctorOutput, *, explain: str, is_page: bool) -> None:
    """Words about the rules themselves."""
    from penstock.operate.doctor import explained, find_rule, rules_page  # noqa: PLC0415 — start-up time

    if is_page:
        print_text(rules_page().rstrip())
        return
    asked = (find_rule(explain),) if explain else rules
    if output is not DoctorOutput.TABLE:
        print_json([_record(rule) for rule in asked])
    elif explain:
        print_text(explained(asked[0]))
    else:
        print_table(("rule", "severity", "what"), [(rule.id, rule.severity.value, rule.title) for rule in asked])


def _record(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.id,
        "severity": rule.severity.value,
        "title": rule.title,
        "consequence": rule.consequence,
        "fix": rule.fix,
        "rows": rule.rows,
        "is_live": rule.is_live,
        "url": rule.url,
    }
