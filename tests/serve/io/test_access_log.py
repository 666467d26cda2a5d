"""The access log: every line once, and never in the way of serving."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from fakes.upstream import Link, always
from penstock.errors import StartError
from penstock.serve.io.access_log import BATCHES_MAX, LINES_AT_ONCE, AccessLog
from penstock.serve.record import RequestRecord
from serve.exchanges import SSE_HEAD, TOKEN, answer, chunk
from serve.gateways import KEY
from serve.io.rig import Run, get, post, rig


def record(number: int) -> RequestRecord:
    return RequestRecord(request_id=f"r{number}")


def ids(text: str) -> list[str]:
    return [line.split(" request_id=")[1].split(" ")[0] for line in text.splitlines()]


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "access-log"]


def test_every_line_is_written_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "access.log"
    log = AccessLog(str(path))
    for number in range(3 * LINES_AT_ONCE + 5):
        log.add(record(number))
        if number % 40 == 0:
            log.flush()
    log.close()
    assert ids(path.read_text()) == [f"r{n}" for n in range(3 * LINES_AT_ONCE + 5)]
    assert log.lines_dropped == 0
    assert threads() == []


def test_a_file_is_appended_to_and_is_not_for_everybody(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    for number in range(2):
        log = AccessLog(str(path))
        log.add(record(number))
        log.close()
    assert ids(path.read_text()) == ["r0", "r1"]
    assert path.stat().st_mode & 0o007 == 0


def test_off_writes_nothing_and_keeps_nothing() -> None:
    log = AccessLog("off")
    for number in range(1000):
        log.add(record(number))
    log.flush()
    log.close()
    assert threads() == []


@pytest.mark.parametrize(("target", "stream"), [("stdout", 0), ("stderr", 1)])
def test_lines_go_to_the_standard_streams(target: str, stream: int, capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog(target)
    log.add(record(7))
    log.close()
    assert ids(capfd.readouterr()[stream]) == ["r7"]
    os.fstat(1 + stream)  # still open


def test_closing_twice_is_once(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "access.log"))
    log.close()
    log.close()


@pytest.mark.parametrize("name", ["/proc/nope/access.log", "/dev/null/access.log", "/"])
def test_a_file_that_can_not_be_opened_is_said_by_name(name: str) -> None:
    with pytest.raises(StartError, match="can't be opened") as raised:
        AccessLog(name)
    assert name in str(raised.value)
    assert "accessLog" in str(raised.value)
    assert threads() == []


def test_a_full_disk_drops_and_counts_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    log = AccessLog("/dev/full")
    for number in range(10):
        log.add(record(number))
        log.flush()
    log.close()
    assert log.lines_dropped == 10
    assert [r.getMessage().count("can't be written") for r in caplog.records] == [1]


def test_a_reader_that_does_not_read_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog(str(path))
    total = 0
    while not log.lines_dropped:
        assert total < 200_000
        for _ in range(LINES_AT_ONCE):
            log.add(record(total))
            total += 1
        log.flush()
    assert log._batches.qsize() <= BATCHES_MAX
    os.set_blocking(reader, True)
    received = bytearray()
    drain = threading.Thread(target=lambda: received.extend(read_to_end(reader)))
    drain.start()
    log.close()
    drain.join(10)
    os.close(reader)
    assert len(received.splitlines()) + log.lines_dropped == total
    assert threads() == []


def read_to_end(fd: int) -> bytes:
    data = b""
    while piece := os.read(fd, 1 << 16):
        data += piece
    return data


class TestServing:
    def test_each_request_is_one_line_however_it_ended(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "access.log"

        async def script(link: Link) -> None:
            await link.request()
            await link.send(SSE_HEAD + chunk(TOKEN))
            await link.gone()

        async def main() -> None:
            async with rig(script, access_log=str(path)) as r:
                assert (await r.ask(get())).status == 200
                assert (await r.ask(post(key="wrong"))).status == 401
                assert (await r.ask(post("/nowhere"))).status == 404
                assert (await r.ask(post(raw=b"{"))).status == 400
                assert (await r.ask(b"garbage\r\n\r\n")).status == 400
                async with r.client() as client:
                    await client.send(post(stream=True))
                    await client.until(b"\n\n")
                await r.ended(6)

        run(main)
        lines = path.read_text().splitlines()
        assert [line.split(" outcome=")[1].split(" ")[0] for line in lines] == [
            "ok",
            *["client_error"] * 4,
            "cancelled",
        ]
        assert len({line.split(" request_id=")[1].split(" ")[0] for line in lines}) == 6

    def test_no_key_prompt_or_completion_is_in_it(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "access.log"

        async def main() -> None:
            async with rig(always(answer(b'{"choices":[{"text":"secret-answer"}]}')), access_log=str(path)) as r:
                await r.ask(post(messages=[{"role": "user", "content": "secret-prompt"}], user="secret-user"))
                await r.ask(post(key="secret-key"))
                await r.ask(get("/v1/models?api_key=secret-query"))

        run(main)
        text = path.read_text()
        assert len(text.splitlines()) == 3
        assert "secret" not in text
        assert KEY not in text

    def test_a_full_disk_does_not_stop_serving(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        async def main() -> None:
            async with rig(always(answer()), access_log="/dev/full") as r:
                for _ in range(3):
                    assert (await r.ask(post())).status == 200

        run(main)
        assert "can't be written" in caplog.text
        caplog.clear()
