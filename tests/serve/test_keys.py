"""Keys that are made: their text finds its own typing errors, their records only ever lose validity."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.serve.keys import (
    KeyChange,
    KeyForm,
    KeyRecord,
    KeyRequest,
    Standing,
    admit_key,
    change_key,
    form_of,
    key_text,
    limits_of,
    limits_shown,
    new_record,
    next_change,
    record_shown,
    revoke,
    rotate,
    standing,
)

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KEY = key_text(bytes(range(32)))
OTHER = key_text(bytes(range(1, 33)))
REQUEST = KeyRequest(tenant="acme", name="laptop")
random_bytes = st.binary(min_size=32, max_size=32)
times = st.integers(0, 2**40)
records = st.builds(
    lambda expires, revoked: replace(new_record(REQUEST, KEY, now=0), expires=expires, revoked=revoked),
    st.none() | times,
    st.none() | times,
)


class TestText:
    @given(random_bytes)
    def test_a_key_is_whole_and_fits_a_header(self, random: bytes) -> None:
        key = key_text(random)

        assert form_of(key) is KeyForm.WHOLE
        assert len(key) == 4 + 43 + 6
        assert key.isascii()
        assert key.replace("_", "").isalnum()

    @given(random_bytes, random_bytes)
    def test_other_bytes_are_another_key(self, one: bytes, other: bytes) -> None:
        assert (key_text(one) == key_text(other)) == (one == other)

    def test_all_bits_count(self) -> None:
        """The body is the number in base 62: read back, it is what went in."""
        random = b"\xff" * 32
        number = 0
        for character in key_text(random)[4:47]:
            number = number * 62 + ALPHABET.index(character)
        assert number.to_bytes(32) == random

    @pytest.mark.parametrize("size", [0, 16, 31, 33])
    def test_fewer_or_more_bytes_make_no_key(self, size: int) -> None:
        with pytest.raises(ValueError, match="32 random bytes"):
            key_text(bytes(size))

    @given(random_bytes, st.integers(4, 52), st.sampled_from(ALPHABET))
    def test_any_wrong_character_is_found(self, random: bytes, place: int, character: str) -> None:
        key = key_text(random)
        typed = key[:place] + character + key[place + 1 :]
        assert form_of(typed) is (KeyForm.WHOLE if typed == key else KeyForm.MISTYPED)

    @given(random_bytes, st.integers(4, 45))
    def test_neighbours_that_changed_places_are_found(self, random: bytes, place: int) -> None:
        key = key_text(random)
        typed = key[:place] + key[place + 1] + key[place] + key[place + 2 :]
        assert form_of(typed) is (KeyForm.WHOLE if typed == key else KeyForm.MISTYPED)

    @given(random_bytes, st.integers(4, 52))
    def test_a_key_that_was_cut_or_lengthened_is_found(self, random: bytes, end: int) -> None:
        key = key_text(random)
        assert form_of(key[:end]) is KeyForm.MISTYPED
        assert form_of(key + "x") is KeyForm.MISTYPED

    @given(st.text())
    def test_any_text_has_a_form_and_only_what_begins_as_ours_may_be_mistyped(self, text: str) -> None:
        assert form_of(text) is KeyForm.FOREIGN or text.startswith("psk_")
        assert form_of("psk_" + text) is not KeyForm.FOREIGN


class TestRecord:
    def test_it_holds_a_digest_and_four_characters_and_not_the_key(self) -> None:
        record = new_record(REQUEST, KEY, now=7)

        assert record.digest == hashlib.sha256(KEY.encode()).digest()
        assert record.last_four == KEY[-4:]
        assert record.created == 7
        assert KEY[4:-4] not in repr(record)
        shown = repr(record_shown(record, 8))
        assert KEY[4:-4] not in shown
        assert record.digest.hex() not in shown

    def test_two_keys_have_two_ids(self) -> None:
        assert new_record(REQUEST, KEY, now=0).id != new_record(REQUEST, OTHER, now=0).id

    @given(records, times, times)
    def test_what_is_not_valid_never_becomes_valid_again(self, record: KeyRecord, now: int, later: int) -> None:
        if standing(record, now) is not Standing.VALID:
            assert standing(record, now + later) is not Standing.VALID

    @given(records, times)
    def test_nothing_changes_before_the_next_change_and_something_does_at_it(self, record: KeyRecord, now: int) -> None:
        at = next_change([record], now)
        if at is None:
            assert standing(record, now) is standing(record, 2**60)
        else:
            assert at > now
            assert standing(record, at - 0.001) is standing(record, now)
            assert standing(record, at) is not standing(record, now)

    @given(records, times, times)
    def test_revoking_holds_at_once_and_once(self, record: KeyRecord, now: int, later: int) -> None:
        revoked = revoke(record, now=now)

        assert standing(revoked, 0) is Standing.REVOKED
        assert revoke(revoked, now=later) == revoked


class TestRotation:
    @given(st.none() | st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 2 * 10**6))
    def test_both_are_valid_during_the_overlap_and_only_the_new_one_after_it(
        self, lifetime: int | None, overlap_s: int, passed: int
    ) -> None:
        # given
        old = new_record(replace(REQUEST, expires=lifetime, models=("chat",)), KEY, now=0)
        # when
        ended, new = rotate(old, OTHER, now=0, overlap_s=overlap_s)
        # then the old one never outlives what it had or the overlap
        would_be = standing(old, passed) is Standing.VALID
        assert (standing(ended, passed) is Standing.VALID) == (would_be and passed < overlap_s)
        assert (standing(new, passed) is Standing.VALID) == would_be
        assert (new.tenant, new.name, new.models) == (old.tenant, old.name, old.models)
        assert ended.successor == new.id
        assert ended.digest == old.digest != new.digest

    def test_a_lifetime_begins_anew(self) -> None:
        old = new_record(replace(REQUEST, expires=100), KEY, now=0)

        _, new = rotate(old, OTHER, now=90, overlap_s=5)

        assert (new.created, new.expires) == (90, 190)

    def test_a_key_that_ended_or_was_rotated_is_not_rotated(self) -> None:
        old = new_record(REQUEST, KEY, now=0)
        ended, new = rotate(old, OTHER, now=1, overlap_s=10)

        with pytest.raises(UsageError, match=f"{new.id} took its place"):
            rotate(ended, OTHER, now=2, overlap_s=10)
        with pytest.raises(UsageError, match="is expired"):
            rotate(ended, OTHER, now=11, overlap_s=10)
        with pytest.raises(UsageError, match="is revoked"):
            rotate(revoke(old, now=1), OTHER, now=2, overlap_s=10)
        with pytest.raises(UsageError, match="not negative"):
            rotate(old, OTHER, now=2, overlap_s=-1)


class TestAdmission:
    @pytest.mark.parametrize(
        ("request_", "words"),
        [
            (replace(REQUEST, tenant="Acme"), "no name for a tenant"),
            (replace(REQUEST, tenant=""), "no name for a tenant"),
            (replace(REQUEST, tenant="a" * 64), "no name for a tenant"),
            (replace(REQUEST, name=""), "no name for a key"),
            (replace(REQUEST, name="a\nb"), "no name for a key"),
            (replace(REQUEST, name="a" * 101), "no name for a key"),
            (replace(REQUEST, expires=10), "expired before it was made"),
            (replace(REQUEST, models=("gone",)), "no model 'gone'"),
            (replace(REQUEST, models=()), "can call nothing"),
        ],
    )
    def test_what_can_not_be_is_refused_in_words(self, request_: KeyRequest, words: str) -> None:
        with pytest.raises(UsageError, match=words):
            admit_key(request_, [], now=10, served=["chat"])

    def test_a_key_is_never_taken_for_a_name(self) -> None:
        with pytest.raises(UsageError, match="can't be the name of a key") as refusal:
            admit_key(replace(REQUEST, name=KEY), [], now=0, served=None)
        assert KEY not in str(refusal.value)

    def test_a_name_is_free_again_when_its_key_has_ended(self) -> None:
        record = new_record(REQUEST, KEY, now=0)

        with pytest.raises(UsageError, match=record.id):
            admit_key(REQUEST, [record], now=1, served=None)
        admit_key(REQUEST, [revoke(record, now=1)], now=1, served=None)
        admit_key(replace(REQUEST, tenant="beta"), [record], now=1, served=None)

    def test_a_tenant_has_a_bounded_number_of_valid_keys(self) -> None:
        record = new_record(REQUEST, KEY, now=0)
        many = [replace(record, id=f"key_{n}", name=f"n{n}") for n in range(1000)]

        admit_key(REQUEST, many[:-1], now=1, served=None)
        with pytest.raises(UsageError, match="1000 valid keys"):
            admit_key(REQUEST, many, now=1, served=None)


def test_limits_are_named_as_in_the_fleet_file_and_those_that_cant_be_are_told() -> None:
    assert limits_shown(limits_of({"requestsPerMinute": 5, "costPerMonth": 0})) == {
        "requestsPerMinute": 5,
        "costPerMonth": 0,
    }
    assert limits_of({"requestsPerMinute": None}) is None
    assert limits_shown(None) == {}
    for wrong in ({"perHour": 1}, {"requestsPerMinute": -1}, {"requestsPerMinute": 1.5}):
        with pytest.raises(UsageError, match=f"`{next(iter(wrong))}` is no limit"):
            limits_of(wrong)


def test_a_change_touches_what_it_names_and_no_key_that_ended() -> None:
    made = new_record(KeyRequest(tenant="acme", name="ci", limits=limits_of({"concurrentRequests": 3})), "x", now=0)

    changed = change_key(made, KeyChange(limits={"tokensPerMinute": 9}, traffic_class="batch"), now=1)
    assert limits_shown(changed.limits) == {"concurrentRequests": 3, "tokensPerMinute": 9}
    assert changed.traffic_class == "batch"
    again = change_key(changed, KeyChange(limits={"concurrentRequests": None}), now=1)
    assert (limits_shown(again.limits), again.traffic_class) == ({"tokensPerMinute": 9}, "batch")
    assert change_key(again, KeyChange(limits={}, is_class_inherited=True), now=1).traffic_class is None
    old, new = rotate(again, "y", now=2, overlap_s=0)
    assert (new.limits, new.traffic_class) == (again.limits, "batch")
    with pytest.raises(UsageError, match="is expired"):
        change_key(old, KeyChange(limits={}), now=3)
