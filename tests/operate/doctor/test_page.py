"""The page of the rules is the one that their own words give."""

from __future__ import annotations

import re
from pathlib import Path

from penstock.operate.doctor import RULES, explained, find_rule, rules_page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "doctor.md"


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == rules_page(), "run `make docs`"


def test_every_rule_has_its_section_and_every_link_leads_to_one() -> None:
    page = rules_page()
    anchors = {re.sub(r"[^\w-]", "", t.lower().replace(" ", "-")) for t in re.findall(r"^## (.*)$", page, re.MULTILINE)}

    assert {rule.url.partition("#")[2] for rule in RULES} <= anchors
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= anchors


def test_one_rule_explained_has_all_its_words() -> None:
    rule = find_rule("PS019")
    text = explained(rule)

    assert all(part in text for part in (rule.id, rule.title, rule.consequence, rule.fix, rule.url, "19, 52"))
