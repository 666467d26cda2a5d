"""Sets of fields in the form of managedFields."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.operate.testing.fieldsets import decode_fields, encode_fields, key_element, shown, value_element

elements = st.one_of(
    st.sampled_from(["f:a", "f:b", "f:."]), st.builds(value_element, st.text(max_size=3)),
    st.builds(lambda name: key_element({"name": name}), st.text(max_size=3)),
)  # fmt: skip
paths = st.lists(elements, min_size=1, max_size=4).map(tuple)


@given(st.frozensets(paths, max_size=12))
def test_encoding_and_decoding_are_inverse(fields: frozenset) -> None:
    assert decode_fields(encode_fields(fields)) == fields


def test_a_node_that_is_a_member_has_a_dot() -> None:
    item = key_element({"protocol": "TCP", "containerPort": 80})

    assert item == 'k:{"containerPort":80,"protocol":"TCP"}'
    assert encode_fields([("f:ports", item), ("f:ports", item, "f:name")]) == {
        "f:ports": {item: {".": {}, "f:name": {}}}
    }


def test_paths_are_shown_as_in_conflicts() -> None:
    path = ("f:spec", key_element({"name": "engine"}), "f:env", value_element("x"), "i:2")

    assert shown(path) == '.spec[name="engine"].env[="x"][2]'
