# ruff: noqa: E501 — a schema reads better one property to a line
"""SARIF: the structure that code scanning wants."""

from __future__ import annotations

from typing import Any

import jsonschema

from operate.doctor.faults import examined
from penstock.operate.doctor import RULES, Evidence, Snippet, check, sarif

TEXT = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"type": "string", "minLength": 1}, "markdown": {"type": "string"}},
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool"],
                "additionalProperties": False,
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "additionalProperties": False,
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"type": "string"},
                                    "version": {"type": "string"},
                                    "informationUri": {"type": "string", "pattern": "^https://"},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id", "shortDescription", "helpUri"],
                                            "additionalProperties": False,
                                            "properties": {
                                                "id": {"type": "string"},
                                                "name": {"type": "string", "pattern": "^[A-Za-z0-9]+$"},
                                                "shortDescription": TEXT,
                                                "fullDescription": TEXT,
                                                "help": TEXT,
                                                "helpUri": {"type": "string", "pattern": "^https://"},
                                                "defaultConfiguration": {"type": "object", "properties": {"level": {"enum": ["none", "note", "warning", "error"]}}, "additionalProperties": False},
                                                "properties": {"type": "object", "properties": {"tags": {"type": "array", "uniqueItems": True, "items": {"type": "string"}}}},
                                            },
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "invocations": {"type": "array", "items": {"type": "object", "required": ["executionSuccessful"], "additionalProperties": False, "properties": {"executionSuccessful": {"type": "boolean"}, "toolExecutionNotifications": {"type": "array", "items": {"type": "object", "required": ["message"], "properties": {"message": TEXT, "level": {"enum": ["none", "note", "warning", "error"]}}, "additionalProperties": False}}}}},
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": TEXT,
                                "locations": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "additionalProperties": False,
                                        "properties": {
                                            "physicalLocation": {
                                                "type": "object",
                                                "required": ["artifactLocation"],
                                                "additionalProperties": False,
                                                "properties": {
                                                    "artifactLocation": {"type": "object", "required": ["uri"], "properties": {"uri": {"type": "string", "pattern": "^[^ \\\\]+$"}}, "additionalProperties": False},
                                                    "region": {"type": "object", "required": ["startLine"], "properties": {"startLine": {"type": "integer", "minimum": 1}, "startColumn": {"type": "integer", "minimum": 1}}, "additionalProperties": False},
                                                },
                                            },
                                            "logicalLocations": {"type": "array", "items": {"type": "object", "properties": {"fullyQualifiedName": {"type": "string"}, "kind": {"type": "string"}}, "additionalProperties": False}},
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}  # fmt: skip
"""The parts of SARIF 2.1.0 (OASIS, sarif-schema-2.1.0) that we write, with its required properties and enums."""


def test_a_log_with_findings_problems_and_live_objects_is_valid() -> None:
    report = examined("a: [\n---\nargs: [--max-num-seqs=4, --swap-space=4]\n", "some folder/a.yaml")
    log = sarif(report, RULES)

    jsonschema.validate(log, SCHEMA)
    (result,) = log["runs"][0]["results"]
    assert (
        result["ruleId"]
        == log["runs"][0]["tool"]["driver"]["rules"][result["ruleIndex"]]["id"]
        == "PS101-gone-engine-flag"
    )
    region = result["locations"][0]["physicalLocation"]
    assert region == {
        "artifactLocation": {"uri": "some%20folder/a.yaml"},
        "region": {"startLine": 3, "startColumn": 26},
    }
    assert len(log["runs"][0]["invocations"][0]["toolExecutionNotifications"]) == 1


def test_what_has_no_file_has_a_logical_place() -> None:
    snippet = Snippet(kind="log", file="", object="n/Pod/a", text="No CUDA GPUs are available")
    log = sarif(check(Evidence(snippets=(snippet,))), RULES)

    jsonschema.validate(log, SCHEMA)
    assert log["runs"][0]["results"][0]["locations"] == [
        {"logicalLocations": [{"fullyQualifiedName": "n/Pod/a", "kind": "object"}]}
    ]
