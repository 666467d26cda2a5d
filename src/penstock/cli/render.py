"""`penstock render`: a fleet as Kubernetes objects, on stdout or in a folder. Asks no cluster, changes none.

Exit codes: 0 rendered, 1 the folder could not be written, 2 the file is wrong or cannot be rendered.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.output import Output, print_json, print_text, say, warn
from penstock.errors import UsageError

if TYPE_CHECKING:
    from penstock.plan.manifests import Bundle
    from penstock.plan.manifests.site import Site

__all__ = ["register"]


_Option = typer.Option
_File = Annotated[str, typer.Argument(metavar="FILE", help="Fleet file; `-` reads stdin.")]
_Out = Annotated[
    Path | None,
    _Option("--out", "-o", metavar="FOLDER", help="Write files there; stale ones of a former render go. Else stdout."),
]
_Cluster = Annotated[str | None, _Option(metavar="NAME", help="One of `spec.clusters`. Default: all of them.")]
_Namespace = Annotated[
    str | None, _Option("--namespace", "-n", metavar="NAME", help="Namespace. Default: the file's, else `default`.")
]
_Models = Annotated[list[str] | None, _Option("--model", metavar="NAME", help="Only what belongs to this model.")]
_Output = Annotated[Output, _Option("--output", help="On stdout: YAML for people and kubectl, or the objects as JSON.")]


def register(app: typer.Typer) -> None:
    """Adds `render` to the command line."""
    app.command()(render)


def render(
    file: _File,
    *,
    out: _Out = None,
    cluster: _Cluster = None,
    namespace: _Namespace = None,
    model: _Models = None,
    output: _Output = Output.TABLE,
) -> None:
    """Print a fleet as Kubernetes objects, each number with its reason.

    Notes about what the cluster must have are said on stderr.
    """
    from penstock.cli.rendering import load_sites  # noqa: PLC0415 — start-up time

    sites = load_sites(file, cluster=cluster, namespace=namespace)
    if len(sites) > 1 and out is None:
        names = ", ".join(site.cluster.name for site in sites if site.cluster is not None)
        raise UsageError(
            f"the fleet runs in {len(sites)} clusters, and stdout holds one",
            hint=f"choose one with --cluster ({names}), or a folder with -o",
        )
    bundles = [(site, _only(site, model or [])) for site in sites]
    for site, bundle in bundles:
        for note in bundle.notes:
            warn(f"{site.cluster.name}: {note}" if site.cluster is not None else note)
    if out is not None:
        _write(out, bundles, is_whole=not model)
    elif output is Output.JSON:
        print_json([made for _, bundle in bundles for made in bundle.objects])
    else:
        _print(bundles[0][1])


def _only(site: Site, models: list[str]) -> Bundle:
    """The bundle, or what of it belongs to some models."""
    from penstock.plan.manifests import Bundle  # noqa: PLC0415 — start-up time
    from penstock.plan.manifests.render import render as render_site  # noqa: PLC0415 — start-up time

    bundle = render_site(site)
    if not models:
        return bundle
    unknown = [name for name in models if name not in site.needs]
    if unknown:
        hint = f"it has {', '.join(site.needs)}" if site.needs else "all its models run elsewhere"
        raise UsageError(f"the fleet has no model {unknown[0]!r} to render", hint=hint)
    wanted = {site.names[name] for name in models}
    label = "penstock.dev/model"
    kept = tuple(m for m in bundle.manifests if m.object["metadata"].get("labels", {}).get(label) in wanted)
    return Bundle(manifests=kept, notes=bundle.notes)


def _print(bundle: Bundle) -> None:
    from penstock.plan.manifests.formats import stream  # noqa: PLC0415 — start-up time

    print_text(stream(bundle.manifests).rstrip("\n"))


def _write(out: Path, bundles: list[tuple[Site, Bundle]], *, is_whole: bool) -> None:
    from penstock.cli.folder import write_folder  # noqa: PLC0415 — start-up time
    from penstock.plan.manifests.formats import HEADER, plain_files  # noqa: PLC0415 — start-up time

    files: dict[str, str] = {}
    for site, bundle in bundles:
        prefix = f"{site.cluster.name}/" if site.cluster is not None else ""
        files |= {f"{prefix}{path}": text for path, text in plain_files(bundle).items()}
    change = write_folder(out, files, header=HEADER, removes_others=is_whole)
    count = sum(len(bundle.manifests) for _, bundle in bundles)
    for sign, paths in (("+", change.added), ("~", change.changed), ("-", change.removed)):
        for path in paths:
            say(f"  {sign} {out / path}")
    say(f"{count} objects in {len(files)} files: {change}")
