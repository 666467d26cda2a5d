"""The loader: a good file becomes a fleet, a bad one gives all of its problems, in order, at their places."""

from __future__ import annotations

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import Problem, SpecError
from penstock.spec.loader import load_fleet
from spec.fleets import HEAD, fleet_text, problems_of, the_problem

BAD = """\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata:
  name: Small
spec:
  models:
    - name: chat
      replicas: two
      name: again
    - name: embed
      aliases: [chat]
      gpu: L4
  gateway:
    listen: nowhere
    tenants:
      - name: a
        keys: [{value: the-same-key}]
      - name: a
        keys: [{value: the-same-key}, {}]
"""


def test_the_smallest_fleet_is_six_lines() -> None:
    fleet = load_fleet(HEAD + "spec:\n  models:\n    - name: Qwen/Qwen3-8B\n", "f.yaml")

    assert fleet.metadata.name == "small"
    assert [model.name for model in fleet.spec.models] == ["Qwen/Qwen3-8B"]


def test_a_fleet_keeps_what_the_file_says() -> None:
    fleet = load_fleet(
        fleet_text(
            model="aliases: [gpt], replicas: 2, engine: {speed: 4, args: {a: 8192, x: [1, a, null], y: true}}",
            gateway="listen: '0.0.0.0:0', tenants: [{name: a, keys: [{value: long-enough}, {valueFrom: {env: K}}]}]",
        ),
        "f.yaml",
    )

    (model,) = fleet.spec.models
    assert (model.aliases, model.replicas, model.engine.speed) == (["gpt"], 2, 4.0)
    assert model.engine.args == {"a": 8192, "x": [1, "a", None], "y": True}
    literal, from_environment = fleet.spec.gateway.tenants[0].keys
    assert literal.value is not None
    assert literal.value.get_secret_value() == "long-enough"
    assert from_environment.value_from is not None
    assert from_environment.value_from.env == "K"


def test_every_problem_is_told_at_once_in_the_order_of_the_file() -> None:
    told = [(problem.line, problem.column, problem.field) for problem in problems_of(BAD)]

    assert told == [
        (4, 9, "metadata.name"),
        (8, 17, "spec.models[0].replicas"),
        (9, 7, "spec.models[0].name"),
        (11, 17, "spec.models[1].aliases[0]"),
        (12, 7, "spec.models[1].gpu"),
        (14, 13, "spec.gateway.listen"),
        (18, 15, "spec.gateway.tenants[1].name"),
        (19, 24, "spec.gateway.tenants[1].keys[0].value"),
        (19, 39, "spec.gateway.tenants[1].keys[1]"),
    ]


def test_a_problem_reads_as_file_line_column_field_and_words() -> None:
    (problem,) = problems_of(fleet_text(model="replicas: -1"))

    assert str(problem) == ("f.yaml:6:30: spec.models[0].replicas: must be a whole number from 0 to 1000, not -1")


def test_a_name_clash_is_told_once() -> None:
    problem = the_problem(fleet_text(models="{name: chat}"))

    assert problem.field == "spec.models[1].name"


def test_an_unknown_model_of_a_tenant_is_not_guessed_while_models_are_wrong() -> None:
    tenant = "tenants: [{name: a, keys: [{valueFrom: {env: K}}], models: [gpt]}]"

    fields = [problem.field for problem in problems_of(fleet_text(model="alias: [gpt]", gateway=tenant))]

    assert fields == ["spec.models[0].alias"]
    assert the_problem(fleet_text(gateway=tenant)).field == "spec.gateway.tenants[0].models[0]"


def test_a_file_of_another_kind_is_told_as_such_and_nothing_else() -> None:
    problem = the_problem("apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: 1}\n")

    assert (problem.line, problem.field) == (2, "kind")
    assert "not a fleet file" in problem.message


def test_a_file_of_a_newer_version_is_told_as_such_and_nothing_else() -> None:
    problem = the_problem("apiVersion: penstock.dev/v9\nkind: Fleet\nspec: {x: 1}\n")

    assert problem.field == "apiVersion"
    assert "does not know" in problem.message


def test_a_file_that_is_no_mapping_is_told() -> None:
    assert "a mapping" in the_problem("- a\n").message
    assert "a mapping" in the_problem("hello\n").message


def test_a_key_written_twice_fails_a_file_that_is_good_otherwise() -> None:
    problem = the_problem(fleet_text() + "kind: Fleet\n")

    assert problem.message == "is written twice; the first is on line 2"


def test_a_problem_inside_an_anchor_is_told_where_the_anchor_is() -> None:
    text = HEAD + "spec:\n  models:\n    - &m {name: a, replicas: x}\n"

    assert the_problem(text).line == 6


def test_windows_line_ends_and_comments_change_nothing() -> None:
    text = fleet_text(model="replicas: 2").replace("\n", "   # words\r\n")

    assert load_fleet(text, "f.yaml") == load_fleet(fleet_text(model="replicas: 2"), "f.yaml")


def problems_if_any(text: str) -> list[Problem]:
    try:
        load_fleet(text, "f.yaml")
    except SpecError as error:
        return list(error.problems)
    return []


@given(st.text(max_size=200))
def test_any_text_is_a_fleet_or_problems_in_words(text: str) -> None:
    problems = problems_if_any(text)

    assert all(problem.message and problem.file == "f.yaml" for problem in problems)


@given(st.randoms(use_true_random=False))
def test_any_damage_to_a_file_is_told_in_words_at_places_in_the_file(chance: random.Random) -> None:
    lines = BAD.splitlines()
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(lines))
        match chance.randrange(4):
            case 0:
                del lines[place]
            case 1:
                lines[place] = " " * chance.randint(0, 3) + lines[place]
            case 2:
                lines[place] = re.sub(
                    r": .*", f": {chance.choice(['[]', '{}', '3', 'x', '', '{a: [1]}'])}", lines[place]
                )
            case _:
                lines[place] = lines[place].replace(chance.choice("abcdefg:{["), chance.choice("xyz:]-"), 1)
    text = "\n".join(lines)
    problems = problems_if_any(text)

    told = [(problem.line, problem.column) for problem in problems]
    assert told == sorted(told)
    assert all(0 <= line <= len(lines) + 1 for line, _ in told)
    assert not any("Input should" in problem.message for problem in problems), "pydantic's own words"
    assert "the-same-key" not in "".join(map(str, problems))
