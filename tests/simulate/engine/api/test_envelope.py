"""Usage, and the model card."""

from __future__ import annotations

from penstock.simulate.engine.api.envelope import Usage, model_card


def test_usage_adds_up_and_keeps_vllms_key_order() -> None:
    usage = Usage(3, 4)

    assert list(usage.brief().items()) == [("prompt_tokens", 3), ("total_tokens", 7), ("completion_tokens", 4)]
    assert list(usage.full())[3:] == ["prompt_tokens_details", "completion_tokens_details"]


def test_a_model_card_names_its_source_and_its_length() -> None:
    card = model_card(name="tiny", root="models/tiny", max_model_len=1024, created=1, permission_id="ab")

    assert (card["id"], card["root"], card["max_model_len"], card["parent"]) == ("tiny", "models/tiny", 1024, None)
    assert card["permission"][0]["id"] == "modelperm-ab"
