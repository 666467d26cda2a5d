"""The dashboard: pages that need nothing from elsewhere, beside a JSON twin, and charts that a real browser draws."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from dashboard.browser import Page, browser, needs_browser
from dashboard.demo_fleet import SCENES, demo_fleet
from penstock.dashboard import dashboard_routes
from penstock.serve.io.admin import AdminServer, admin_app


@asynccontextmanager
async def served(scene: str) -> AsyncIterator[str]:
    server = AdminServer(admin_app(demo_fleet(scene), dashboard_routes()), "127.0.0.1", 0)
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()


def test_the_page_and_all_it_names_come_from_this_port() -> None:
    async def main() -> None:
        async with served("calm") as url, aiohttp.ClientSession(url) as session:
            async with session.get("/") as response:
                page = await response.text()
                policy = response.headers["content-security-policy"]
            assert "//" not in page.replace("<!doctype html>", "")
            assert "script-src 'self'" in policy
            assert "style-src 'self'" in policy
            names = re.findall(r'(?:src|href)="(/[^"]*)"', page)
            assert {"/api/v1/state", "/metrics"} <= set(names)
            for name in names:
                async with session.get(name) as response:
                    assert response.status == 200, name

    asyncio.run(main())


def test_the_page_has_no_script_or_style_inside_it() -> None:
    async def main() -> None:
        async with served("calm") as url, aiohttp.ClientSession(url) as session, session.get("/") as response:
            page = await response.text()
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
        assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == [""]

    asyncio.run(main())


def test_the_page_names_its_json_twin() -> None:
    async def main() -> None:
        async with served("calm") as url, aiohttp.ClientSession(url) as session:
            async with session.get("/") as response:
                page = await response.text()
            twin = re.search(r'rel="alternate" type="application/json" href="([^"]+)"', page)
            assert twin
            async with session.get(twin[1]) as response:
                state = await response.json()
        assert [model["name"] for model in state["models"]] == ["qwen3-8b", "qwen3-coder-30b", "bge-m3"]

    asyncio.run(main())


def test_files_may_be_kept_for_ever_because_their_address_changes_with_them() -> None:
    async def main() -> None:
        async with served("calm") as url, aiohttp.ClientSession(url) as session:
            async with session.get("/favicon.ico") as response:
                assert "immutable" in response.headers["cache-control"]
                folder = str(response.url.path).rsplit("/", 1)[0]
            for name in ("fleet.js", "chart.js", "tables.js", "format.js", "routing.js"):
                async with session.get(f"{folder}/{name}") as response:
                    assert response.content_type == "text/javascript"
            for path in (f"{folder}/nothing.js", f"{folder}/..%2froutes.py", "/assets/000000000000/fleet.js"):
                async with session.get(path) as response:
                    assert response.status == 404

    asyncio.run(main())


@asynccontextmanager
async def drawn(scene: str, profile: Path, *, width: int = 1280, is_dark: bool = False) -> AsyncIterator[Page]:
    """The page of a scene in a real browser, after its first answer was drawn."""
    async with served(scene) as url, browser(profile) as page:
        await page.open(url, width=width, is_dark=is_dark)
        await page.until("document.body.dataset.mood !== 'unknown' && document.querySelector('.chart .base')")
        yield page


@needs_browser
def test_a_browser_draws_charts_and_says_what_is_broken(tmp_path: Path) -> None:
    async def main() -> None:
        async with drawn("trouble", tmp_path) as page:
            assert await page.ask("document.body.dataset.mood") == "broken"
            assert "qwen3-1" in await page.ask("document.querySelector('#problems .broken').textContent")
            assert await page.ask("document.title") == "✕ team-eu · Penstock"
            assert await page.ask("document.querySelectorAll('.chart svg').length") == 5
            curves = await page.ask("[...document.querySelectorAll('path.curve')].map((c) => c.getAttribute('d'))")
            assert len(curves) >= 8
            assert all(curve.count("L") > 20 for curve in curves)
            assert await page.ask("document.querySelectorAll('path.area.alarm').length") >= 1
            assert await page.ask("document.querySelectorAll('tr.replica').length") == 6
            assert await page.ask("document.querySelectorAll('#request-table tbody tr').length") == 25
            assert page.errors == []

    asyncio.run(main())


@needs_browser
def test_a_browser_shows_what_waits_what_is_out_and_what_the_gateway_leans_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with drawn("trouble", tmp_path) as page:
            (model,) = await page.ask(
                "[...document.querySelectorAll('tr.model')].map((tr) => tr.innerText).filter((t) => /wait/.test(t))"
            )
            assert "17 interactive, 240 batch wait, p95 of interactive" in model
            assert "257" in model.replace("\t", " ").split()
            replicas = "[...document.querySelectorAll('tr.replica')]"
            out = await page.ask(f"{replicas}.find((tr) => /qwen3-1/.test(tr.innerText)).innerText")
            assert "no connection: refused, no route, not in time (connect: connection refused); next try in" in out
            lines = await page.ask("[...document.querySelectorAll('#leaning-list li')].map((li) => li.innerText)")
            assert [line.split()[0] for line in lines] == ["Limits", "Use"]
            assert "no answer within 250 ms; 1,840 requests decided alone so far" in lines[0]
            assert "1,902 finished requests wait in the journal: db.example:5432 refuses the connection" in lines[1]
            told = await page.ask("document.getElementById('problems').innerText")
            assert "it allows its own share of the limits: no answer within 250 ms" in told
            assert page.errors == []

    asyncio.run(main())


@needs_browser
def test_a_browser_shows_why_requests_went_where_they_went(tmp_path: Path) -> None:
    async def main() -> None:
        path = "/api/v1/decisions?limit=40"
        async with served("calm") as url, aiohttp.ClientSession(url) as session, session.get(path) as response:
            kept = (await response.json())["decisions"]
        first = next(d for d in kept if len(d["candidates"]) > 1)
        best = next(c for c in first["candidates"] if c["endpoint"] == first["endpoint"])
        async with drawn("calm", tmp_path) as page:
            rows = "[...document.querySelectorAll('#decision-table tbody tr')]"
            assert await page.ask(f"{rows}.length") == 12
            row = await page.ask(f"{rows}[0].innerText")
            assert row.split()[1:3] == [first["model"], first["endpoint"]]
            assert f"one of {len(first['candidates'])}" in row
            await page.ask(f"{rows}[0].querySelector('details').open = true")
            chosen = await page.ask(f"{rows}[0].querySelector('.chosen').innerText")
            assert chosen.startswith(first["endpoint"])
            assert f"{best['cached_tokens']:,} tokens cached, {best['in_flight']} in flight" in chosen
            assert await page.ask("document.getElementById('leaning-list').innerText.includes('3 gateways')")
            assert page.errors == []

    asyncio.run(main())


@needs_browser
def test_pointing_at_one_chart_reads_all_of_them_at_that_moment(tmp_path: Path) -> None:
    async def main() -> None:
        async with drawn("calm", tmp_path) as page:
            await page.ask("document.querySelector('.chart svg').focus()")
            for key in ("ArrowLeft", "ArrowLeft", "Home"):
                await page.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key)
            shown = "[...document.querySelectorAll('.tip')].filter((tip) => !tip.hidden)"
            tips = await page.ask(f"{shown}.map((tip) => tip.innerText)")
            assert len(tips) == 5
            assert len({tip.splitlines()[0] for tip in tips}) == 1
            assert "qwen3-8b" in tips[0]
            await page.call("Input.dispatchKeyEvent", type="keyDown", key="Escape", code="Escape")
            assert await page.ask(f"{shown}.length") == 0
            assert page.errors == []

    asyncio.run(main())


@needs_browser
@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_fits_a_phone_and_the_dark_without_an_error(scene: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with drawn(scene, tmp_path, width=390, is_dark=True) as page:
            assert await page.ask("document.documentElement.scrollWidth") == 390
            assert await page.ask("getComputedStyle(document.documentElement).backgroundColor") == "rgb(14, 18, 22)"
            wide = "[...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > 390.5)"
            assert await page.ask(f"{wide}.map((e) => e.outerHTML.slice(0, 80))") == []
            is_quiet = scene in ("starting", "empty")
            assert await page.ask("document.getElementById('first-request').hidden") is not is_quiet
            assert page.errors == []

    asyncio.run(main())


@needs_browser
def test_nothing_is_cut_off_at_any_width(tmp_path: Path) -> None:
    async def main() -> None:
        async with drawn("trouble", tmp_path) as page:
            for width in (320, 390, 600, 761, 820, 1081, 1280, 1920):
                await page.resize(width)
                await page.until(f"document.documentElement.clientWidth === {width}")
                assert await page.ask("document.documentElement.scrollWidth") == width
                assert await page.ask("document.getElementById('model-table').scrollWidth") < width

    asyncio.run(main())


@needs_browser
def test_the_first_request_s_command_names_the_gateway_and_a_model(tmp_path: Path) -> None:
    async def main() -> None:
        async with drawn("empty", tmp_path) as page:
            command = await page.ask("document.getElementById('first-command').textContent")
        assert command.startswith("curl -N http://127.0.0.1:8080/v1/chat/completions")
        assert '"model":"tiny"' in command

    asyncio.run(main())


@needs_browser
def test_a_gateway_that_is_gone_is_told_and_so_is_its_return(tmp_path: Path) -> None:
    async def main() -> None:
        app = admin_app(demo_fleet("calm"), dashboard_routes())
        first = AdminServer(app, "127.0.0.1", 0)
        await first.start()
        try:
            async with browser(tmp_path) as page:
                await page.open(first.url)
                await page.until("document.body.dataset.mood === 'good'")
                await first.stop()
                await page.until("document.body.dataset.mood === 'stale'")
                assert await page.ask("document.getElementById('stale').hidden") is False
                assert "since" in await page.ask("document.getElementById('stale-since').textContent")
                second = AdminServer(app, "127.0.0.1", first.port)
                await second.start()
                try:
                    await page.until("document.body.dataset.mood === 'good' && document.getElementById('stale').hidden")
                finally:
                    await second.stop()
        finally:
            await first.stop()

    asyncio.run(main())
