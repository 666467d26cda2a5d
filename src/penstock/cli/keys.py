"""`penstock keys` and `penstock tenants`: who may call, with which keys, in the file and in the store.

Works on the store itself, so it needs no running gateway; those that run take a change within a second.
"""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli.output import Output, OutputOption
from penstock.cli.state import StateOption

__all__ = ["register"]

_Option = typer.Option
_File = Annotated[str, typer.Argument(metavar="FILE", help="Fleet file.")]
_N = "N"
_PerMinute = Annotated[str | None, _Option("--requests-per-minute", metavar=_N, help="Requests that may begin.")]
_Tokens = Annotated[str | None, _Option("--tokens-per-minute", metavar=_N, help="Prompt and output together.")]
_Input = Annotated[str | None, _Option("--input-tokens-per-minute", metavar=_N, help="Prompt tokens.")]
_OutputTokens = Annotated[str | None, _Option("--output-tokens-per-minute", metavar=_N, help="Output tokens.")]
_Concurrent = Annotated[str | None, _Option("--concurrent", metavar=_N, help="Requests at once.")]
_Month = Annotated[str | None, _Option("--tokens-per-month", metavar=_N, help="In a calendar month (UTC).")]
_Cost = Annotated[str | None, _Option("--cost-per-month", metavar="USD", help="In a calendar month (UTC).")]
_Prompt = Annotated[str | None, _Option("--prompt-tokens-max", metavar=_N, help="Tokens of the longest prompt.")]
_Most = Annotated[str | None, _Option("--output-tokens-max", metavar=_N, help="Output tokens of one request.")]
_Class = Annotated[str | None, _Option("--class", metavar="CLASS", help="interactive, batch or experimental.")]
_Id = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows it. Never the key.")]


def register(app: typer.Typer) -> None:
    """Adds `keys` and `tenants` to the command line."""
    keys = typer.Typer(help="Make, list, rotate and revoke the keys of a fleet's store.", no_args_is_help=True)
    for command in (create, rotate, revoke):
        keys.command()(command)
    keys.command("set")(set_)
    keys.command("list")(list_)
    app.add_typer(keys, name="keys")
    tenants = typer.Typer(help="Who may call: the tenants of the file and of the store.", no_args_is_help=True)
    tenants.command("list")(list_tenants)
    app.add_typer(tenants, name="tenants")


def create(
    file: _File,
    *,
    tenant: Annotated[str, _Option(metavar="NAME", help="Whose key it is; a new name makes a new tenant.")],
    name: Annotated[str, _Option(metavar="NAME", help="What it is called in logs and reports, as in `laptop`.")],
    models: Annotated[
        list[str] | None, _Option("--models", "--model", metavar="NAME", help="Only these models; repeatable.")
    ] = None,
    expires: Annotated[
        str | None, _Option(metavar="WHEN", help="`90d`, `2027-01-31` or RFC 3339. Default: it does not.")
    ] = None,
    requests_per_minute: _PerMinute = None,
    tokens_per_minute: _Tokens = None,
    input_tokens_per_minute: _Input = None,
    output_tokens_per_minute: _OutputTokens = None,
    concurrent: _Concurrent = None,
    tokens_per_month: _Month = None,
    cost_per_month: _Cost = None,
    prompt_tokens_max: _Prompt = None,
    output_tokens_max: _Most = None,
    traffic_class: _Class = None,
    state_dir: StateOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a key. It is printed once, on stdout, and kept nowhere: the store has its SHA-256."""
    from penstock.cli.keys_run import KeyAsk, run_create  # noqa: PLC0415 — start-up time

    asked = [part.strip() for words in models or () for part in words.split(",")]
    limits = {
        "requestsPerMinute": requests_per_minute,
        "tokensPerMinute": tokens_per_minute,
        "inputTokensPerMinute": input_tokens_per_minute,
        "outputTokensPerMinute": output_tokens_per_minute,
        "concurrentRequests": concurrent,
        "tokensPerMonth": tokens_per_month,
        "costPerMonth": cost_per_month,
        "promptTokensMax": prompt_tokens_max,
        "outputTokensMax": output_tokens_max,
    }
    ask = KeyAsk(
        tenant=tenant,
        name=name,
        models=tuple(asked) or None,
        expires=expires,
        limits=limits,
        traffic_class=traffic_class,
    )
    run_create(file, ask, output, state_dir=state_dir)


def set_(
    file: _File,
    key_id: _Id,
    *,
    requests_per_minute: _PerMinute = None,
    tokens_per_minute: _Tokens = None,
    input_tokens_per_minute: _Input = None,
    output_tokens_per_minute: _OutputTokens = None,
    concurrent: _Concurrent = None,
    tokens_per_month: _Month = None,
    cost_per_month: _Cost = None,
    prompt_tokens_max: _Prompt = None,
    output_tokens_max: _Most = None,
    traffic_class: _Class = None,
    state_dir: StateOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Change limits or class of a key; `none` takes one away, and what is not named stays. Holds within a second."""
    from penstock.cli.keys_run import run_set  # noqa: PLC0415 — start-up time

    limits = {
        "requestsPerMinute": requests_per_minute,
        "tokensPerMinute": tokens_per_minute,
        "inputTokensPerMinute": input_tokens_per_minute,
        "outputTokensPerMinute": output_tokens_per_minute,
        "concurrentRequests": concurrent,
        "tokensPerMonth": tokens_per_month,
        "costPerMonth": cost_per_month,
        "promptTokensMax": prompt_tokens_max,
        "outputTokensMax": output_tokens_max,
    }
    run_set(file, key_id, limits=limits, traffic_class=traffic_class, output=output, state_dir=state_dir)


def list_(
    file: _File,
    *,
    tenant: Annotated[str | None, _Option(metavar="NAME", help="Only this tenant's.")] = None,
    ended: Annotated[bool, _Option("--all", help="Revoked and expired ones too.")] = False,
    state_dir: StateOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List keys, those of the file too, without the keys."""
    from penstock.cli.keys_run import run_list  # noqa: PLC0415 — start-up time

    run_list(file, tenant=tenant, shows_ended=ended, output=output, state_dir=state_dir)


def rotate(
    file: _File,
    key_id: _Id,
    *,
    overlap: Annotated[str, _Option(metavar="SPAN", help="How long the old key stays valid: `1h`, `7d`, `0`.")] = "24h",
    state_dir: StateOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Put a new key in the place of another. It is printed once; the old one ends after the overlap."""
    from penstock.cli.keys_run import run_rotate  # noqa: PLC0415 — start-up time

    run_rotate(file, key_id, overlap=overlap, output=output, state_dir=state_dir)


def revoke(file: _File, key_id: _Id, *, state_dir: StateOption = None, output: OutputOption = Output.TABLE) -> None:
    """End a key at once, for good. Requests that have begun with it finish."""
    from penstock.cli.keys_run import run_revoke  # noqa: PLC0415 — start-up time

    run_revoke(file, key_id, output=output, state_dir=state_dir)


def list_tenants(file: _File, *, state_dir: StateOption = None, output: OutputOption = Output.TABLE) -> None:
    """List tenants: valid keys in file and store, class, weight, limits, and what they used this month."""
    from penstock.cli.keys_run import run_tenants  # noqa: PLC0415 — start-up time

    run_tenants(file, output=output, state_dir=state_dir)
