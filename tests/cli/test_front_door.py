"""The gateway, its admin port and its addresses as one thing."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from penstock.cli.front_door import FrontDoor, Listeners, LoadedFleet, load
from penstock.cli.key_store import open_desk
from penstock.errors import StartError, UsageError
from penstock.serve.keys import KeyRequest

ANYWHERE = Listeners(listen="127.0.0.1:0", admin="127.0.0.1:0")


def loaded(folder: Path, listeners: Listeners = ANYWHERE, **gateway: Any) -> LoadedFleet:
    head = {"apiVersion": "penstock.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "demo"}}
    spec = {"models": [{"name": "chat", "objectives": {"itlMs": 40}}], "gateway": {"accessLog": "off", **gateway}}
    (folder / "fleet.yaml").write_text(json.dumps({**head, "spec": spec}))
    return load(str(folder / "fleet.yaml"), listeners)


def test_it_says_where_it_is_bound_and_what_clients_use(tmp_path: Path) -> None:
    async def main() -> None:
        door = FrontDoor(loaded(tmp_path, Listeners(listen="0.0.0.0:0", admin="127.0.0.1:0"), auth={"anonymous": True}))
        await door.start()
        try:
            port = door.gateway.listen_port
            assert door.listen == f"0.0.0.0:{port}"
            assert door.url == f"http://127.0.0.1:{port}/v1"
            assert door.announcement() == {
                "listen": door.listen,
                "admin": door.admin,
                "url": door.url,
                "dashboard": f"http://{door.admin}/",
                "fleet": "demo",
                "models": ["chat"],
            }
            assert not door.admin.endswith(":0")
        finally:
            await door.close()

    asyncio.run(main())


def test_page_state_and_objectives_are_on_the_admin_port(tmp_path: Path) -> None:
    async def main() -> None:
        door = FrontDoor(loaded(tmp_path))
        await door.start()
        try:
            async with aiohttp.ClientSession(door.dashboard) as client:
                async with client.get("/") as page:
                    assert page.status == 200
                async with client.get("/api/v1/state") as answer:
                    assert (await answer.json())["models"][0]["objectives"]["itl_ms"] == 40
            assert door.state()["fleet"] == "demo"
        finally:
            await door.close()

    asyncio.run(main())


@pytest.mark.parametrize("taken_one", ["listen", "admin"])
def test_when_one_port_is_taken_the_other_is_left_free(tmp_path: Path, taken_one: str) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as spare:
            where = f"127.0.0.1:{taken.getsockname()[1]}"
            free = f"127.0.0.1:{spare.getsockname()[1]}"
            spare.close()
            ports = {"listen": free, "admin": free, taken_one: where}
            door = FrontDoor(loaded(tmp_path, Listeners(**ports)))
            with pytest.raises(StartError, match=where):
                await door.start()
            host, _, port = free.partition(":")
            with socket.create_server((host, int(port))):
                pass

    asyncio.run(main())


def test_draining_hurried_ends_at_once_and_closing_twice_is_fine(tmp_path: Path) -> None:
    async def main() -> None:
        door = FrontDoor(loaded(tmp_path))
        await door.start()
        hurry = asyncio.Event()
        hurry.set()
        door.gateway.core.in_flight += 1  # a request that will never end
        await door.drain(hurry)
        door.gateway.core.in_flight -= 1
        await door.close()
        await door.close()

    asyncio.run(main())


def test_the_file_decides_where_the_access_log_goes_and_the_command_only_what_auto_means(tmp_path: Path) -> None:
    it = loaded(tmp_path)
    assert it.with_access_log("stdout").config.access_log == "off"
    assert loaded(tmp_path, accessLog="auto").with_access_log("stdout").config.access_log == "stdout"


def test_the_listeners_certificate_lies_beside_the_file_that_names_it(tmp_path: Path) -> None:
    """As every other file that it names; from wherever the command is run."""
    tls = loaded(tmp_path, tls={"certFile": "tls/chain.pem", "keyFile": "/etc/ssl/key.pem"}).config.tls
    assert tls is not None
    assert (tls.cert_file, tls.key_file) == (str(tmp_path / "tls" / "chain.pem"), "/etc/ssl/key.pem")


SECRET = [{"name": "a", "keys": [{"valueFrom": {"secretKeyRef": {"name": "keys", "key": "acme"}}}]}]


def test_keys_of_secrets_are_files_of_a_folder_and_are_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounted" / "keys").mkdir(parents=True)
    (tmp_path / "mounted" / "keys" / "acme").write_text("a-mounted-key\n")
    monkeypatch.setenv("PENSTOCK_SECRETS_DIR", str(tmp_path / "mounted"))

    read = loaded(tmp_path, tenants=SECRET)

    assert read.config.caller_of(b"a-mounted-key") is not None
    assert read.watched_files == [str(tmp_path / "fleet.yaml"), str(tmp_path / "mounted" / "keys" / "acme")]


@pytest.mark.parametrize("key", ["../outside", "..", "a/b", "absent", "a\0b"])
def test_no_file_outside_of_the_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    (tmp_path / "mounted" / "keys" / "a").mkdir(parents=True)
    for place in ("outside", "keys/a/b"):
        (tmp_path / "mounted" / place).write_text("not-to-be-read")
    monkeypatch.setenv("PENSTOCK_SECRETS_DIR", str(tmp_path / "mounted"))
    tenants = [{"name": "a", "keys": [{"valueFrom": {"secretKeyRef": {"name": "keys", "key": key}}}]}]

    with pytest.raises(UsageError, match="is not there"):
        loaded(tmp_path, tenants=tenants)


def test_a_key_that_is_made_while_it_runs_is_known_beside_the_files_and_ends_calls_without_one(tmp_path: Path) -> None:
    async def main() -> None:
        door = FrontDoor(loaded(tmp_path))
        await door.start()
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(door.watch_keys())
            assert door.store is None
            assert door.gateway.config.is_anonymous_served
            # when
            desk = open_desk(door.loaded.store, door.loaded.fleet, lambda: None)
            made = await desk.create(KeyRequest(tenant="acme", name="laptop"))
            # then
            async with asyncio.timeout(60):
                while not door.gateway.config.callers:  # noqa: ASYNC110 — a state, not an event
                    await asyncio.sleep(0.01)
            caller = door.gateway.config.caller_of(made.key.encode())
            assert caller is not None
            assert caller.tenant == "acme"
            assert not door.gateway.config.is_anonymous_served
            assert door.state()["gateway"]["store"]["keys"] == 1
            # and a reload of the file keeps it
            door.reload(loaded(tmp_path))
            assert door.gateway.config.caller_of(made.key.encode()) is not None
            watch.cancel()
        await door.close()

    asyncio.run(main())


def test_a_store_that_was_never_read_keeps_both_ports_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.serve.io.stores.watch.FIRST_S", 0.05)

    async def main() -> None:
        door = FrontDoor(loaded(tmp_path, store={"url": "postgresql://u@127.0.0.1:1/p"}))
        with pytest.raises(StartError, match="every valid one would be refused"):
            await door.start()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", int(door.admin.rpartition(":")[2]))
        await door.close()

    asyncio.run(main())


def test_another_store_needs_a_restart_and_the_one_in_use_stays(tmp_path: Path) -> None:
    async def main() -> None:
        door = FrontDoor(loaded(tmp_path))
        before = door.loaded.store
        notes = door.reload(loaded(tmp_path, store={"url": "sqlite:other.db"}))
        assert [note for note in notes if "spec.gateway.store" in note]
        assert door.loaded.store == before
        await door.close()

    asyncio.run(main())


def test_with_a_store_a_gateway_may_listen_to_a_network_and_serves_nobody_without_a_key(tmp_path: Path) -> None:
    everywhere = Listeners(listen="0.0.0.0:0", admin="127.0.0.1:0")
    with pytest.raises(UsageError, match="no tenant and no key"):
        loaded(tmp_path, everywhere)
    assert not loaded(tmp_path, everywhere, store={"url": "sqlite:keys.db"}).config.is_anonymous_served
    (tmp_path / ".penstock" / "demo").mkdir(parents=True)
    (tmp_path / ".penstock" / "demo" / "keys.db").touch()
    assert not loaded(tmp_path, everywhere).config.is_anonymous_served
