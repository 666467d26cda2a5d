"""The fleet file compiled for the hot path: keys as digests, names as look-ups, nothing open by accident."""

from __future__ import annotations

import pytest

from penstock.errors import UsageError
from penstock.serve.config import ANONYMOUS, compile_gateway, digest_key
from penstock.spec.loader import load_fleet
from serve.gateways import KEY, OTHER_KEY, TENANTS, config, fleet_text

ENV_KEY = """\
    tenants:
      - name: acme
        keys: [{name: laptop, valueFrom: {env: ACME_KEY}}]
"""
SECRET_KEY = ENV_KEY.replace("{env: ACME_KEY}", "{secretKeyRef: {name: keys, key: acme}}")


class TestKeys:
    def test_a_key_tells_its_tenant_and_its_own_name(self) -> None:
        caller = config().caller_of(KEY.encode())
        assert caller is not None
        assert (caller.tenant, caller.key, caller.models) == ("acme", "acme-laptop", None)

    def test_a_key_without_a_name_is_numbered(self) -> None:
        caller = config().caller_of(OTHER_KEY.encode())
        assert caller is not None
        assert (caller.key, caller.models) == ("beta-1", frozenset({"embed"}))

    @pytest.mark.parametrize("key", [b"", b"wrong", KEY.upper().encode(), KEY.encode() + b" ", b"\xff\x00"])
    def test_any_other_key_is_nobodys(self, key: bytes) -> None:
        assert config().caller_of(key) is None

    def test_keys_are_held_as_digests_alone(self) -> None:
        compiled = config()
        assert set(compiled.callers) == {digest_key(KEY), digest_key(OTHER_KEY)}
        assert KEY not in repr(compiled)

    def test_a_key_is_read_from_the_environment(self) -> None:
        compiled = config(ENV_KEY, env={"ACME_KEY": " from-the-env \n"})
        assert compiled.caller_of(b"from-the-env") is not None

    @pytest.mark.parametrize(
        ("env", "words"),
        [({}, "is not set"), ({"ACME_KEY": " "}, "is not set"), ({"ACME_KEY": "short"}, "fewer than 8")],
    )
    def test_a_missing_or_short_key_is_said_by_name_and_never_printed(self, env: dict[str, str], words: str) -> None:
        with pytest.raises(UsageError, match=words) as raised:
            config(ENV_KEY, env=env)
        assert "laptop" in str(raised.value)
        assert "ACME_KEY" in str(raised.value)
        assert "short" not in str(raised.value)

    def test_a_key_in_a_secret_can_not_be_read_here(self) -> None:
        text = ENV_KEY.replace("{env: ACME_KEY}", "{secretKeyRef: {name: s, key: k}}")
        with pytest.raises(UsageError, match="Kubernetes Secret"):
            config(text)

    def test_a_key_is_read_from_a_mounted_secret(self) -> None:
        compiled = config(SECRET_KEY, secret={("keys", "acme"): "from-the-secret\n"})
        assert compiled.caller_of(b"from-the-secret") is not None

    @pytest.mark.parametrize(
        ("mounted", "words"),
        [
            ({}, "is not there"),
            ({("keys", "acme"): " \n"}, "is not there"),
            ({("keys", "acme"): "tiny"}, "fewer than 8"),
        ],
    )
    def test_a_secret_that_is_missing_or_short_is_said_by_name(
        self, mounted: dict[tuple[str, str], str], words: str
    ) -> None:
        with pytest.raises(UsageError, match=words) as raised:
            config(SECRET_KEY, secret=mounted)
        assert "key acme of Secret keys" in str(raised.value)
        assert "tiny" not in str(raised.value)

    def test_one_key_for_two_tenants_is_refused(self) -> None:
        text = f"""\
    tenants:
      - {{name: a, keys: [{{value: {KEY}}}]}}
      - {{name: b, keys: [{{value: {KEY}}}]}}
"""
        with pytest.raises(UsageError, match="same key") as raised:
            config(text)
        assert KEY not in str(raised.value)


class TestOpenness:
    def test_without_tenants_loopback_is_open(self) -> None:
        assert config("").is_anonymous_served

    def test_with_tenants_it_is_not(self) -> None:
        assert not config().is_anonymous_served

    @pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "10.0.0.1:80", "example.org:80"])
    def test_without_tenants_a_network_is_refused(self, listen: str) -> None:
        with pytest.raises(UsageError, match="no tenant and no key"):
            config("", listen=listen)

    @pytest.mark.parametrize("listen", ["127.0.0.2:0", "[::1]:0", "localhost:0"])
    def test_every_way_of_saying_loopback_is_loopback(self, listen: str) -> None:
        assert config("", listen=listen).is_anonymous_served

    def test_a_network_without_keys_is_served_when_it_is_meant(self) -> None:
        assert config("    auth: {anonymous: true}\n", listen="0.0.0.0:0").is_anonymous_served

    def test_loopback_without_keys_can_be_closed(self) -> None:
        assert not config("    auth: {anonymous: false}\n").is_anonymous_served


class TestModels:
    def test_a_model_is_found_by_each_of_its_names(self) -> None:
        compiled = config()
        assert {compiled.names[n].name for n in ("chat", "gpt-4o", "default")} == {"chat"}
        assert list(compiled.models) == ["chat", "embed"]
        assert "gpt-4" not in compiled.names

    @pytest.mark.parametrize(
        ("url", "address"),
        [
            ("http://10.0.0.1:9000", ("10.0.0.1", 9000)),
            ("http://engine.local", ("engine.local", 80)),
            ("http://[::1]:9000", ("::1", 9000)),
            ("http://[::1]", ("::1", 80)),
            ("http://[fd00::8080]", ("fd00::8080", 80)),
        ],
    )
    def test_static_endpoints_are_hosts_and_ports(self, url: str, address: tuple[str, int]) -> None:
        compiled = config("", models=f'    - name: chat\n      endpoints: ["{url}"]\n')
        assert compiled.models["chat"].static_endpoints == (address,)

    def test_a_tenant_may_name_models_by_alias(self) -> None:
        text = f"    tenants:\n      - {{name: a, models: [gpt-4o], keys: [{{value: {KEY}}}]}}\n"
        caller = config(text).caller_of(KEY.encode())
        assert caller is not None
        assert caller.may_call("chat")
        assert not caller.may_call("embed")
        assert ANONYMOUS.may_call("anything")


class TestListeners:
    def test_the_file_says_where_unless_the_command_line_does(self) -> None:
        assert config(file_listen="127.0.0.1:7001").port == 7001
        overridden = config(file_listen="127.0.0.1:7001", listen="127.0.0.1:7002", admin="127.0.0.1:7003")
        assert (overridden.port, overridden.admin_port) == (7002, 7003)

    @pytest.mark.parametrize("listen", ["8080", "localhost", "127.0.0.1:99999", ":80", ""])
    def test_a_malformed_option_is_named(self, listen: str) -> None:
        with pytest.raises(UsageError, match="--listen"):
            config(listen=listen)
        with pytest.raises(UsageError, match="--admin"):
            config(admin=listen)


def test_the_command_line_s_drain_holds_over_the_file_s() -> None:
    fleet = load_fleet(fleet_text(), "fleet.yaml")

    assert compile_gateway(fleet, {}).timeouts.drain_s == 30
    longer = compile_gateway(fleet, {}, drain_s=240.0).timeouts
    assert (longer.drain_s, longer.read_s) == (240.0, 300.0)


def test_who_answers_for_a_model_whose_endpoints_are_out_is_told_in_order_and_once() -> None:
    models = """\
    - {name: chat, endpoints: ["http://e:1"], fallbacks: [{model: big}, {provider: far, when: [saturation]}]}
    - {name: big, endpoints: ["http://e:2"], fallbacks: [{provider: far, providerModel: x}]}
    - {name: embed, endpoints: ["http://e:3"]}
"""
    compiled = config("    providers: [{name: far, url: 'https://far.example/v1'}]\n" + TENANTS, models)
    assert compiled.spares_of("chat") == ("big", "far/x")
    assert compiled.spares_of("big") == ("far/x",)
    assert compiled.spares_of("embed") == ()
