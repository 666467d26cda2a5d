"""Each kind of mistake is told in words that help, at its own place."""

from __future__ import annotations

import pytest

from spec.fleets import HEAD, fleet_text, problems_of, the_problem


@pytest.mark.parametrize(
    ("text", "field", "hint"),
    [
        (fleet_text(model="replica: 2"), "spec.models[0].replica", "did you mean `replicas`?"),
        (fleet_text(model="Replicas: 2"), "spec.models[0].Replicas", "did you mean `replicas`?"),
        (fleet_text(model="engine: {start_timeout_s: 2}"), "spec.models[0].engine.start_timeout_s", "`startTimeoutS`"),
        (fleet_text(model="engine: {start-timeout-s: 2}"), "spec.models[0].engine.start-timeout-s", "`startTimeoutS`"),
        (fleet_text(model="gpu: L4"), "spec.models[0].gpu", "`gpu` belongs at `spec.models[].hardware.gpu`"),
        (fleet_text(model="args: {}"), "spec.models[0].args", "`args` belongs at `spec.models[].engine.args`"),
        (fleet_text() + "models: []\n", "models", "`models` belongs at `spec.models`"),
        (fleet_text() + "  tenants: []\n", "spec.tenants", "`tenants` belongs at `spec.gateway.tenants`"),
        (
            fleet_text(gateway="body_bytes_max: 9999"),
            "spec.gateway.body_bytes_max",
            "`spec.gateway.limits.bodyBytesMax`",
        ),
        (fleet_text(gateway="port: 80"), "spec.gateway.port", "fields here: listen, admin, tls"),
        (
            fleet_text(model="maxModelLen: 1"),
            "spec.models[0].maxModelLen",
            "flags of the engine stand under `engine.args`",
        ),
        (fleet_text(model="engine: {kv-cache: 1}"), "spec.models[0].engine.kv-cache", "stand under `args`"),
    ],
)
def test_an_unknown_field_is_told_with_what_was_meant(text: str, field: str, hint: str) -> None:
    problem = the_problem(text)

    assert problem.field == field
    assert problem.message == "is not a field here"
    assert hint in str(problem.hint)


def test_a_slip_in_a_required_name_is_one_problem() -> None:
    problem = the_problem(fleet_text(models="{nam: x}"))

    assert (problem.field, problem.hint) == ("spec.models[1].nam", "did you mean `name`?")


@pytest.mark.parametrize(
    ("model", "field", "message", "hint"),
    [
        ("replicas: true", "replicas", "must be a whole number from 0 to 1000, not true", None),
        ("replicas: -1", "replicas", "must be a whole number from 0 to 1000, not -1", None),
        ("replicas: 2.0", "replicas", "must be a whole number from 0 to 1000, not 2.0", None),
        ("replicas: '2'", "replicas", "must be a whole number from 0 to 1000, not '2'", "write 2, without quotes"),
        ("replicas: 1_000", "replicas", "not '1_000'", "write 1000, without quotes or separators"),
        ("replicas: many", "replicas", "not 'many'", None),
        ("replicas: 99999999999999999999", "replicas", "not 99999999999999999999", None),
        ("replicas: ", "replicas", "is empty; it must be a whole number", "remove the line to get the default"),
        ("objectives: {ttftMs: 500ms}", "objectives.ttftMs", "must be a number above 0, not '500ms'", "number alone"),
        ("objectives: {ttftMs: .nan}", "objectives.ttftMs", "must be a number above 0, not nan", None),
        ("objectives: {ttftMs: .inf}", "objectives.ttftMs", "must be a number above 0, not inf", None),
        (
            "engine: {type: vlm}",
            "engine.type",
            "must be one of `auto`, `vllm`, `simulated`, not 'vlm'",
            "write `type: vllm`",
        ),
        ("engine: {env: {A: 1}}", "engine.env.A", "must be text, not 1", "put it in quotes"),
        ("source: 3", "source", "must be text, not 3", "put it in quotes"),
        ("source: [a]", "source", "must be text, not a list", None),
        ("aliases: gpt", "aliases", "must be a list, not 'gpt'", "[brackets]"),
        ("aliases: ['a b']", "aliases[0]", "not 'a b'", None),
        ("endpoints: []", "endpoints", "must be a list with at least one entry, not an empty list", None),
        (
            "endpoints: ['a:1']",
            "endpoints[0]",
            "must be http://HOST:PORT, as in http://127.0.0.1:9001, not 'a:1'",
            None,
        ),
        (
            "engine: {args: {x: {y: 1}}}",
            "engine.args.x",
            "or a list of these, not a mapping",
            "JSON text, in single quotes",
        ),
        ("engine: {args: {x: [[1]]}}", "engine.args.x", "or a list of these, not a list", None),
        (
            "engine: {args: {--x: 1}}",
            "engine.args.--x",
            "must be an engine flag without its leading dashes",
            "write `x`",
        ),
        ("engine: fast", "engine", "must be a mapping with fields such as `type`", None),
        ("hardware: []", "hardware", "must be a mapping with fields such as `gpu`", None),
        ("source: " + "x" * 90 + ", replicas: " + "y" * 90, "replicas", "…", None),
    ],
)
def test_a_wrong_value_is_told_with_what_was_wanted(model: str, field: str, message: str, hint: str | None) -> None:
    problem = the_problem(fleet_text(model=model))

    assert problem.field == f"spec.models[0].{field}"
    assert message in problem.message
    assert (hint in str(problem.hint)) if hint is not None else problem.hint is None


@pytest.mark.parametrize(("written", "meant"), [("yes", "true"), ("off", "false")])
def test_words_of_yaml_1_1_are_explained(written: str, meant: str) -> None:
    problem = the_problem(fleet_text(gateway=f"auth: {{anonymous: {written}}}"))

    assert problem.hint == f"YAML 1.2 reads `{written}` as text: write {meant}"


def test_a_number_in_words_of_a_boolean_gets_no_hint() -> None:
    assert the_problem(fleet_text(gateway="auth: {anonymous: maybe}")).hint is None


def test_an_object_that_is_not_one_is_told() -> None:
    (problem,) = problems_of(fleet_text(models="3"))

    assert problem.field == "spec.models[1]"
    assert "must be a mapping with fields such as `name`" in problem.message


def test_what_is_missing_stands_at_the_object_that_lacks_it() -> None:
    problem = the_problem(fleet_text(models="{source: x}"))

    assert (problem.line, problem.column) == (7, 7)
    assert problem.field == "spec.models[1].name"
    assert problem.message.startswith("is missing; it must be ")


def test_a_missing_head_is_told_with_the_lines_to_add() -> None:
    hints = [problem.hint for problem in problems_of("spec: {models: [{name: a}]}\n")]

    assert hints[:2] == ["add `apiVersion: penstock.dev/v1alpha1`", "add `kind: Fleet`"]


@pytest.mark.parametrize("key", ["value: hunter2", "value: 8675309", "value: [hunter2]", "valeu: hunter2"])
def test_a_key_is_never_repeated(key: str) -> None:
    text = fleet_text(gateway=f"tenants: [{{name: a, keys: [{{{key}}}]}}]")

    said = "\n".join(str(problem) for problem in problems_of(text))

    assert "hunter2" not in said
    assert "8675309" not in said


def test_a_short_key_is_told_by_its_length() -> None:
    problem = the_problem(fleet_text(gateway="tenants: [{name: a, keys: [{value: short}]}]"))

    assert problem.message == "must be text of at least 8 characters, not one of 5"


@pytest.mark.parametrize("written", ["fleet", "Deployment"])
def test_the_kind_is_told_with_the_line_to_write(written: str) -> None:
    problem = the_problem(fleet_text().replace("kind: Fleet", f"kind: {written}"))

    assert (problem.field, problem.hint) == ("kind", "write `kind: Fleet`")


def test_an_empty_spec_is_told() -> None:
    problem = the_problem(HEAD + "spec:\n")

    assert problem.field == "spec"
    assert "is empty" in problem.message
