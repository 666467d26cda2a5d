"""`penstock render`: a fleet as Kubernetes objects, on stdout or in a folder. Asks no cluster, changes none.

Exit codes: 0 rendered, 1 the folder could not be written, 2 the file is wrong or cannot be rendered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.output import Output, print_json, print_text, say, warn
from penstock.errors import UsageError

if TYPE_CHECKING:
    from penstock.plan.manifests import Bundle
    from penstock.plan.manifests.site import Site

__all__ = ["register"]


class Format(StrEnum):
    """The shape of the output."""

    YAML = "yaml"
    KUSTOMIZE = "kustomize"
    HELM = "helm"


_Option = typer.Option
_File = Annotated[str, typer.Argument(metavar="FILE", help="Fleet file; `-` reads stdin.")]
_Out = Annotated[
    Path | None,
    _Option("--out", "-o", metavar="FOLDER", help="Write files there; stale ones of a former render go. Else stdout."),
]
_Format = Annotated[Format, _Option("--format", "-f", help="Plain YAML, a kustomization or a Helm chart.")]
_Cluster = Annotated[str | None, _Option(metavar="NAME", help="One of `spec.clusters`. Default: all of them.")]
_Namespace = Annotated[
    str | None, _Option("--namespace", "-n", metavar="NAME", help="Namespace. Default: the file's, else `default`.")
]
_Models = Annotated[list[str] | None, _Option("--model", metavar="NAME", help="Only what belongs to this model.")]
_Crds = Annotated[bool, _Option("--include-crds", help="Also the definition of the Fleet resource.")]
_Waves = Annotated[bool, _Option("--sync-waves", help="Annotate objects with the order in which Argo CD applies them.")]
_Output = Annotated[Output, _Option("--output", help="On stdout: YAML for people and kubectl, or the objects as JSON.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rendered:
    """A fleet in one cluster."""

    site: Site
    bundle: Bundle

    @property
    def cluster(self) -> str | None:
        return self.site.cluster.name if self.site.cluster is not None else None


def register(app: typer.Typer) -> None:
    """Adds `render` to the command line."""
    app.command()(render)


def render(
    file: _File,
    *,
    out: _Out = None,
    format: _Format = Format.YAML,
    cluster: _Cluster = None,
    namespace: _Namespace = None,
    model: _Models = None,
    include_crds: _Crds = False,
    sync_waves: _Waves = False,
    output: _Output = Output.TABLE,
) -> None:
    """Print a fleet as Kubernetes objects, each number with its reason.

    Notes about what the cluster must have are said on stderr.
    """
    from penstock.cli.rendering import load_sites  # noqa: PLC0415 — start-up time

    if format is not Format.YAML and out is None:
        raise UsageError(f"--format {format.value} is a folder of files", hint="name one: -o FOLDER")
    if format is Format.KUSTOMIZE and cluster is not None:
        raise UsageError("--format kustomize holds all clusters, as they share a base", hint="leave --cluster out")
    sites = load_sites(file, cluster=cluster, namespace=namespace)
    if len(sites) > 1 and out is None:
        names = ", ".join(site.cluster.name for site in sites if site.cluster is not None)
        raise UsageError(
            f"the fleet runs in {len(sites)} clusters, and stdout holds one",
            hint=f"choose one with --cluster ({names}), or a folder with -o",
        )
    rendered = [_rendered(site, model or [], with_crds=include_crds, has_waves=sync_waves) for site in sites]
    for found in rendered:
        for note in found.bundle.notes:
            warn(f"{found.cluster}: {note}" if found.cluster is not None else note)
    if out is not None:
        _write(out / cluster if cluster is not None else out, _files(format, rendered, cluster), is_whole=not model)
    elif output is Output.JSON:
        print_json(rendered[0].bundle.objects)
    else:
        _print(rendered[0].bundle)


def _rendered(site: Site, models: list[str], *, with_crds: bool, has_waves: bool) -> _Rendered:
    from penstock.plan.manifests.formats import with_sync_waves  # noqa: PLC0415 — start-up time
    from penstock.plan.manifests.render import render as render_site  # noqa: PLC0415 — start-up time

    bundle = render_site(site, with_crds=with_crds)
    if models:
        bundle = _only(site, bundle, models)
    return _Rendered(site=site, bundle=with_sync_waves(bundle) if has_waves else bundle)


def _only(site: Site, bundle: Bundle, models: list[str]) -> Bundle:
    """What of a bundle belongs to some models."""
    unknown = [name for name in models if name not in site.needs]
    if unknown:
        hint = f"it has {', '.join(site.needs)}" if site.needs else "all its models run elsewhere"
        raise UsageError(f"the fleet has no model {unknown[0]!r} to render", hint=hint)
    wanted = {site.names[name] for name in models}
    label = "penstock.dev/model"
    kept = tuple(m for m in bundle.manifests if m.object["metadata"].get("labels", {}).get(label) in wanted)
    return replace(bundle, manifests=kept)


def _print(bundle: Bundle) -> None:
    from penstock.plan.manifests.formats import stream  # noqa: PLC0415 — start-up time

    print_text(stream(bundle.manifests).rstrip("\n"))


def _write(out: Path, files: dict[str, str], *, is_whole: bool) -> None:
    from penstock.cli.folder import write_folder  # noqa: PLC0415 — start-up time
    from penstock.plan.manifests.formats import HEADER  # noqa: PLC0415 — start-up time

    change = write_folder(out, files, header=HEADER, removes_others=is_whole)
    for sign, paths in (("+", change.added), ("~", change.changed), ("-", change.removed)):
        for path in paths:
            say(f"  {sign} {out / path}")
    say(f"{len(files)} files: {change}")


def _files(format: Format, rendered: list[_Rendered], only: str | None) -> dict[str, str]:
    """Text of each file by its path; below a folder for each cluster, unless it is the one asked for."""
    from penstock.plan.manifests.formats import (  # noqa: PLC0415 — start-up time
        DEFAULT_OVERLAY,
        helm_files,
        kustomize_files,
        plain_files,
    )

    if format is Format.KUSTOMIZE:
        return kustomize_files({found.cluster or DEFAULT_OVERLAY: found.bundle for found in rendered})
    files: dict[str, str] = {}
    for found in rendered:
        made = plain_files(found.bundle) if format is Format.YAML else helm_files(found.site, found.bundle)
        prefix = f"{found.cluster}/" if found.cluster is not None and only is None else ""
        files |= {f"{prefix}{path}": text for path, text in made.items()}
    return files
