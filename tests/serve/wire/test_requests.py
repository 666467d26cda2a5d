"""Reading request bodies: what is wrong is named, what is right goes on with no more than the edits it needs."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.wire.errors import Failure
from penstock.serve.wire.requests import ApiRequest, edits_between, read_json, read_multipart, upstream_body
from penstock.serve.wire.routes import ROUTES

CHAT = ROUTES["/v1/chat/completions"]
RESPONSES = ROUTES["/v1/responses"]
AUDIO = ROUTES["/v1/audio/transcriptions"]
MESSAGES = [{"role": "user", "content": "hi"}]


def read(body: bytes | dict[str, object], path: str = "/v1/chat/completions") -> ApiRequest:
    request = read_json(ROUTES[path], body if isinstance(body, bytes) else json.dumps(body).encode())
    assert isinstance(request, ApiRequest), request
    return request


def refused(body: bytes, path: str = "/v1/chat/completions") -> Failure:
    failure = read_json(ROUTES[path], body)
    assert isinstance(failure, Failure)
    assert failure.status == 400
    return failure


class TestJson:
    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"", "empty"),
            (b" \r\n", "empty"),
            (b'{"model": "m",\n "messages": [}', "line 2 column 15 (character 29)"),
            (b'{"model": "m"', "character 13"),
            (b'{"model": NaN}', "line 1 column 11"),
            (b"\xff\xfe", "not valid JSON"),
            (b'{"model": "\xff"}', "not valid JSON"),
            (b'{"model": "\\ud800"}', "not valid JSON"),
            (b"[" * 5000, "not valid JSON"),
            (b"[]", "must be a JSON object"),
            (b'"x"', "must be a JSON object"),
            (b"null", "must be a JSON object"),
        ],
    )
    def test_what_is_not_a_json_object_is_refused_with_its_place(self, body: bytes, words: str) -> None:
        failure = refused(body)
        assert failure.code == "invalid_json"
        assert words in failure.message

    @pytest.mark.parametrize(
        ("body", "param", "code"),
        [
            (b"{}", "model", "missing_field"),
            (b'{"model":null}', "model", "missing_field"),
            (b'{"model":""}', "model", "missing_field"),
            (b'{"model":5,"messages":[{"role":"user"}]}', "model", "invalid_type"),
            (b'{"model":"m"}', "messages", "missing_field"),
            (b'{"model":"m","messages":[{"role":"user"}],"n":"2"}', "n", "invalid_type"),
        ],
    )
    def test_a_wrong_field_is_named(self, body: bytes, param: str, code: str) -> None:
        failure = refused(body)
        assert (failure.param, failure.code) == (param, code)

    @pytest.mark.parametrize("options", [[], "x", 5, True, None, {}, {"include_usage": False}])
    @pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/v1/embeddings", "/v1/rerank"])
    def test_stream_options_where_the_api_has_none_are_the_engines_to_judge(self, path: str, options: object) -> None:
        body = {"model": "m", "stream": True, "stream_options": options, "messages": MESSAGES, "input": "x"}
        request = read_json(ROUTES[path], json.dumps(body | {"query": "q", "documents": ["d"]}).encode())
        assert isinstance(request, ApiRequest)

    @given(st.binary(max_size=60), st.sampled_from(sorted(ROUTES)))
    def test_any_bytes_are_read_or_refused_and_never_fail(self, body: bytes, path: str) -> None:
        assert isinstance(read_json(ROUTES[path], body), Failure)
        read_json(ROUTES[path], b'{"model":"m","stream":true,"messages":' + body + b"}")

    def test_the_last_of_two_equal_names_counts_as_for_the_engine(self) -> None:
        assert read(b'{"model":"a","model":"b","messages":[{"role":"user"}]}').model == "b"


VALUES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5) | st.lists(st.text(max_size=3))
EXTRA = st.dictionaries(st.sampled_from(["user", "metadata", "x", "{", '"', "a b", "日本"]), VALUES, max_size=4)


class TestEdits:
    @given(
        extra=EXTRA,
        options=st.sampled_from(
            [..., None, {}, {"include_usage": None}, {"include_usage": False}, {"continuous_usage_stats": True}]
        ),
        is_alias=st.booleans(),
        padding=st.sampled_from(["", " ", "\n\t"]),
    )
    def test_a_stream_asks_for_usage_and_is_otherwise_what_the_client_sent(
        self, extra: dict[str, object], options: object, is_alias: bool, padding: str
    ) -> None:
        extra = {k: v for k, v in extra.items() if k != "user"}
        body = {"model": "alias" if is_alias else "m", "messages": MESSAGES, "stream": True, **extra}
        if options is not ...:
            body["stream_options"] = options
        wire = (padding + json.dumps(body, ensure_ascii=False) + padding).encode()
        request = read(wire)
        assert request.is_stream
        assert not request.wants_usage
        sent = json.loads(upstream_body(CHAT, request, wire, "m"))
        assert sent["stream_options"]["include_usage"] is True
        assert not sent["stream_options"].get("continuous_usage_stats")
        assert {**sent, "stream_options": 0} == {**body, "model": "m", "stream_options": 0}

    @pytest.mark.parametrize(
        "extra",
        [
            {},
            {"stream": False},
            {"stream": None},
            {"stream": True, "stream_options": {"include_usage": True}},
            {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
            {"stream_options": None},
        ],
    )
    def test_what_needs_no_edit_goes_on_byte_by_byte(self, extra: dict[str, object]) -> None:
        wire = json.dumps({"model": "m", "messages": MESSAGES, **extra}, indent=2).encode()
        request = read(wire)
        assert upstream_body(CHAT, request, wire, "m") is wire
        assert request.wants_usage == bool(extra.get("stream_options"))

    def test_an_alias_is_sent_under_the_models_own_name(self) -> None:
        wire = json.dumps({"messages": MESSAGES, "model": "alias", "n": 2}).encode()
        assert json.loads(upstream_body(CHAT, read(wire), wire, "m")) == {"messages": MESSAGES, "model": "m", "n": 2}

    def test_usage_is_not_asked_for_where_the_api_has_no_such_option(self) -> None:
        wire = b'{"model":"m","input":"x","stream":true}'
        assert upstream_body(RESPONSES, read(wire, "/v1/responses"), wire, "m") is wire

    def test_a_field_that_is_added_leaves_the_clients_bytes_as_they_are(self) -> None:
        wire = b'{"model": "m",  "messages": [{"role":"user","content":"hi"}]}'
        sent = upstream_body(CHAT, read(wire), wire, "m", None, edits={"max_tokens": 5, "store": None})
        assert sent.endswith(wire[1:])
        assert json.loads(sent) == {"model": "m", "messages": MESSAGES, "max_tokens": 5}

    def test_a_field_that_is_there_is_changed_or_taken_out(self) -> None:
        wire = json.dumps({"model": "m", "messages": MESSAGES, "max_tokens": 9, "store": True, "n": 1}).encode()
        sent = upstream_body(CHAT, read(wire), wire, "m", 7, edits={"max_tokens": 5, "store": None})
        assert json.loads(sent) == {"model": "m", "messages": MESSAGES, "max_tokens": 5, "n": 1, "seed": 7}


def form(*parts: tuple[str, bytes], boundary: bytes = b"xYz", start: bytes = b"", end: bytes = b"") -> bytes:
    wire = start
    for head, value in parts:
        wire += b"--" + boundary + b"\r\n" + head.encode() + b"\r\n\r\n" + value + b"\r\n"
    return wire + b"--" + boundary + b"--\r\n" + end


def field(name: str, value: bytes) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', value


def upload(content: bytes, filename: str = "a.wav") -> tuple[str, bytes]:
    head = f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: audio/wav'
    return head, content


TYPE = "multipart/form-data; boundary=xYz"


def parse(wire: bytes, content_type: str = TYPE) -> ApiRequest:
    request = read_multipart(wire, content_type)
    assert isinstance(request, ApiRequest), request
    return request


class TestMultipart:
    @given(st.permutations([field("model", b"m"), field("stream", b"true"), upload(b"RIFF\x00\xff"), field("x", b"y")]))
    def test_the_model_is_found_whatever_the_order_of_parts(self, parts: list[tuple[str, bytes]]) -> None:
        request = parse(form(*parts))
        assert (request.model, request.is_stream) == ("m", True)

    @pytest.mark.parametrize(
        "head",
        [
            'content-disposition: form-data; name="model"',
            "Content-Disposition: form-data; name=model",
            'Content-Disposition:form-data;name="model"',
            'Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name="model"',
            'Content-Disposition: form-data; name="model"\r\nContent-Type: text/plain',
        ],
    )
    def test_every_clients_way_of_naming_a_part_is_read(self, head: str) -> None:
        assert parse(form((head, b"m"))).model == "m"

    @pytest.mark.parametrize(
        "content_type",
        [
            'multipart/form-data; boundary="xYz"',
            "Multipart/Form-Data; Boundary=xYz; charset=utf-8",
            "multipart/form-data;charset=utf-8;boundary=xYz",
        ],
    )
    def test_every_way_of_telling_the_boundary_is_read(self, content_type: str) -> None:
        assert parse(form(field("model", b"m")), content_type).model == "m"

    def test_the_content_of_a_file_can_not_pose_as_a_field(self) -> None:
        content = b'\r\nContent-Disposition: form-data; name="model"\r\n\r\nevil\r\n--other\r\n'
        assert parse(form(upload(content), field("model", b"m"), upload(content))).model == "m"

    def test_a_file_name_can_not_pose_as_a_field(self) -> None:
        wire = form(upload(b"x", filename="name=model"), upload(b"x", filename='x"; name="model'), field("model", b"m"))
        assert parse(wire).model == "m"

    def test_a_preamble_and_an_epilogue_are_no_parts(self) -> None:
        assert parse(form(field("model", b"m"), start=b"hello\r\n", end=b"bye")).model == "m"

    def test_an_alias_is_sent_under_the_models_own_name_and_nothing_else_changes(self) -> None:
        parts = [upload(b"RIFF\x00\xff"), field("model", b"alias"), field("language", b"alias")]
        wire = form(*parts)
        sent = upstream_body(AUDIO, parse(wire), wire, "own-name")
        assert sent == form(parts[0], field("model", b"own-name"), parts[2])

    def test_the_models_own_name_goes_on_byte_by_byte(self) -> None:
        wire = form(field("model", b"m"), upload(b"RIFF"))
        assert upstream_body(AUDIO, parse(wire), wire, "m") is wire

    @pytest.mark.parametrize(
        ("wire", "content_type", "code"),
        [
            (form(field("file", b"x")), TYPE, "missing_field"),
            (form(field("model", b"")), TYPE, "missing_field"),
            (b"", TYPE, "missing_field"),
            (form(field("model", b"m")), "application/json", "invalid_content_type"),
            (form(field("model", b"m")), "", "invalid_content_type"),
            (form(field("model", b"m")), "multipart/form-data", "invalid_content_type"),
            (form(field("model", b"m")), "multipart/form-data; boundary=", "invalid_content_type"),
            (form(field("model", b"m" * 5000)), TYPE, "missing_field"),
        ],
    )
    def test_a_form_that_names_no_model_is_refused(self, wire: bytes, content_type: str, code: str) -> None:
        failure = read_multipart(wire, content_type)
        assert isinstance(failure, Failure)
        assert (failure.status, failure.code) == (400, code)

    @given(st.binary(max_size=80), st.binary(max_size=40))
    def test_garbage_is_refused_or_read_and_never_fails(self, head: bytes, rest: bytes) -> None:
        read_multipart(b"--xYz\r\n" + head + b"\r\n\r\n" + rest, TYPE)
        read_multipart(head, TYPE)

    def test_a_large_file_costs_one_search(self) -> None:
        wire = form(upload(b"\r\n--xY" * 1_000_000), field("model", b"m"))
        assert parse(wire).model == "m"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (gzip.compress(b"{}", mtime=0), "gzip"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd"),
        *((zlib.compress(b"{}", level), "deflate") for level in (0, 3, 6, 9)),
    ],
)
def test_a_compressed_body_is_refused_as_what_it_is(body: bytes, name: str) -> None:
    failure = read_json(ROUTES["/v1/chat/completions"], body)
    assert isinstance(failure, Failure)
    assert (failure.status, failure.code) == (415, "unsupported_encoding")
    assert name in failure.message


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2), max_size=4),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2), max_size=4),
)
def test_edits_make_one_request_of_the_other(before: dict[str, int], after: dict[str, int]) -> None:
    wire = json.dumps({"model": "m", "messages": MESSAGES, **before}).encode()
    fields = read(wire).fields
    assert fields is not None
    edits = edits_between(fields, {"model": "m", "messages": fields["messages"], **after})
    sent = upstream_body(CHAT, read(wire), wire, "m", None, edits=edits)
    assert json.loads(sent) == {"model": "m", "messages": MESSAGES, **after}
    assert edits_between(fields, fields) == {}
