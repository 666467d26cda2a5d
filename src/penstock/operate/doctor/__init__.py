"""Doctor: what will go wrong in manifests, values, scripts, logs and clusters, and how to mend it. Pure.

`check(evidence) -> Report`; `evidence_of_text` makes evidence of a file, `resource_of` and `Snippet` of a cluster.
"""

from penstock.operate.doctor.check import Report, check
from penstock.operate.doctor.evidence import Evidence, Resource, Snippet, joined, resource_of
from penstock.operate.doctor.findings import Finding, Rule, Severity, Where
from penstock.operate.doctor.fixes import Mended, mend, unified_diff
from penstock.operate.doctor.page import explained, rules_page
from penstock.operate.doctor.reading import evidence_of_text
from penstock.operate.doctor.sarif import sarif
from penstock.operate.doctor.table import ROWS, RULES, chosen, find_rule

__all__ = [
    "ROWS",
    "RULES",
    "Evidence",
    "Finding",
    "Mended",
    "Report",
    "Resource",
    "Rule",
    "Severity",
    "Snippet",
    "Where",
    "check",
    "chosen",
    "evidence_of_text",
    "explained",
    "find_rule",
    "joined",
    "mend",
    "resource_of",
    "rules_page",
    "sarif",
    "unified_diff",
]
