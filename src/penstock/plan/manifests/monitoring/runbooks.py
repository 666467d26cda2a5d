"""A page for each alert, in Markdown, from the words that stand beside its rule. Pure.

The pages in `docs/runbooks` are these texts; a test holds them to it, and writes them with `make golden`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from penstock.plan.manifests.monitoring.alerts import PAGES
from penstock.plan.manifests.monitoring.rule import Page

__all__ = ["runbooks"]

_WIDTH = 120


def runbooks() -> dict[str, str]:
    """Text by file name."""
    pages = sorted(PAGES, key=lambda page: page.name)
    return {"README.md": "\n".join(_index(pages)) + "\n", **{f"{page.name}.md": _text(page) for page in pages}}


def _index(pages: list[Page]) -> Iterator[str]:
    yield "# Runbooks"
    yield ""
    yield from _wrapped(
        "One page for each alert that `penstock render` makes: what is measured, what to run first, what it may be and "
        "what mends it, and whether it is worth waking somebody. In commands NAMESPACE, FLEET, MODEL and POD stand for "
        "the labels of the alert, NAME for the name of the model's objects."
    )
    yield ""
    yield "| alert | what |"
    yield "|---|---|"
    for page in pages:
        yield f"| [{page.name}]({page.name}.md) | {_first_sentence(page.meaning)} |"


def _text(page: Page) -> str:
    lines = [f"# {page.name}", ""]
    lines += _wrapped(_without_templates(page.description))
    lines += ["", "## What is measured", "", *_wrapped(page.meaning)]
    lines += ["", "## Run this first", "", "```", page.first, "```"]
    lines += ["", "## What it may be, the likely first", ""]
    for number, cause in enumerate(page.causes, 1):
        lines += textwrap.wrap(
            f"{cause.words} **Mend:** {cause.mend}",
            _WIDTH,
            initial_indent=f"{number}. ",
            subsequent_indent="   ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    lines += ["", "## When to wake somebody", "", *_wrapped(page.wake)]
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _first_sentence(text: str) -> str:
    return text.split(". ", maxsplit=1)[0].rstrip(".") + "."


def _without_templates(text: str) -> str:
    """Labels as words: a page is not one alert's."""
    for label in ("model", "pod", "burn", "window", "fleet"):
        text = text.replace("{{ $labels." + label + " }}", label.upper() if label != "burn" else "N")
    for rest in ("{{ $labels.exported_pod }}",):
        text = text.replace(rest, "")
    return text.replace("{{ $value | humanize }}", "VALUE")
