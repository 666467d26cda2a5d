"""Counts are the tokenizer's own, come back in the event loop, and are left undone where they can't be right."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from penstock.serve.admission.prompt import read_prompt
from penstock.serve.admission.template import ChatTemplate
from penstock.serve.io import tokenizing
from penstock.serve.io.tokenizing import TokenizerSource, Tokenizing, find_folder

TEMPLATE = "{% for m in messages %}<s>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<s>{% endif %}"


def make_model(folder: Path, template: str = TEMPLATE, **config: Any) -> Path:
    """A model whose tokenizer gives one token for each byte, `<s>` for a special one, and begins texts with `<s>`."""
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {text: place for place, text in enumerate(["<s>", *alphabet])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<s>"])
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.enable_truncation(4)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template} if template else {}))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@asynccontextmanager
async def counting(folder: Path) -> AsyncIterator[Tokenizing]:
    counter = Tokenizing({}, folder.parent)
    await counter.load(TokenizerSource(model="m", source=str(folder)))
    try:
        yield counter
    finally:
        counter.close()


async def counted(counter: Tokenizing, schema: str, fields: dict[str, Any]) -> tuple[int | None, bool]:
    """(tokens, whether they were told at once)."""
    told: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
    now = counter.count("m", schema, fields, read_prompt(schema, fields), lambda tokens, _: told.set_result(tokens))
    return (now, True) if now is not None else (await told, False)


def run(work: Callable[[], Any]) -> Any:
    return asyncio.run(work())


def chat(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def test_text_is_counted_with_the_special_tokens_that_the_engine_adds(tmp_path: Path) -> None:
    async def work() -> None:
        async with counting(make_model(tmp_path / "m")) as counter:
            assert await counted(counter, "completion", {"prompt": "hello"}) == (6, True)
            assert await counted(counter, "embeddings", {"input": "hé"}) == (4, True)
            assert await counted(counter, "completion", {"prompt": "hello", "add_special_tokens": False}) == (5, True)

    run(work)


def test_a_chat_is_counted_as_its_template_renders_it(tmp_path: Path) -> None:
    async def work() -> None:
        async with counting(make_model(tmp_path / "m")) as counter:
            assert counter.knows("m", "chat")
            assert await counted(counter, "chat", chat("hello")) == (7, True)

    run(work)


def test_a_long_prompt_is_counted_in_a_thread_and_told_in_the_loop(tmp_path: Path) -> None:
    async def work() -> None:
        async with counting(make_model(tmp_path / "m")) as counter:
            assert await counted(counter, "chat", chat("x" * 50_000)) == (50_002, False)
            several = [counted(counter, "completion", {"prompt": "y" * n}) for n in range(10_000, 10_010)]
            assert [tokens for tokens, _ in await asyncio.gather(*several)] == list(range(10_001, 10_011))
            assert counter.counted_total == 11

    run(work)


def test_what_finds_the_queue_full_or_is_too_long_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizing, "QUEUED_MAX", 0)

    async def work() -> None:
        async with counting(make_model(tmp_path / "m")) as counter:
            assert await counted(counter, "completion", {"prompt": "y" * 10_000}) == (None, False)
            assert counter.refused_total == 1

    run(work)
    monkeypatch.setattr(tokenizing, "QUEUED_MAX", 64)
    monkeypatch.setattr(tokenizing, "COUNTED_CHARS_MAX", 9_999)
    run(work)


def test_what_the_text_does_not_tell_comes_back_as_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        async with counting(make_model(tmp_path / "m")) as counter:
            image = {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}
            assert await counted(counter, "chat", image) == (None, False)
            assert await counted(counter, "completion", {"prompt": ["a", "b"]}) == (None, False)

    run(work)


def test_a_template_that_fails_on_a_request_fails_nothing_else(tmp_path: Path) -> None:
    picky = TEMPLATE + "{% if messages[0].content == 'bad' %}{{ raise_exception('no') }}{% endif %}"

    async def work() -> None:
        async with counting(make_model(tmp_path / "m", picky)) as counter:
            assert await counted(counter, "chat", chat("bad")) == (None, False)
            assert counter.failed_total == 1
            assert await counted(counter, "chat", chat("good")) == (6, True)

    run(work)


def test_a_template_that_takes_too_long_is_not_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizing, "RENDER_S_MAX", -1.0)

    async def work() -> None:
        async with counting(make_model(tmp_path / "m")) as counter:
            assert await counted(counter, "chat", chat("hello")) == (7, True)
            assert not counter.knows("m", "chat")
            assert await counted(counter, "chat", chat("hello")) == (None, False)

    run(work)


def test_a_template_that_does_not_end_holds_up_no_request_and_is_not_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hangs(*_: object) -> None:
        released.wait(60)

    async def work() -> None:
        async with counting(make_model(tmp_path / "m")) as counter:
            monkeypatch.setattr(tokenizing, "COUNT_S_MAX", 0.1)
            monkeypatch.setattr(ChatTemplate, "render", hangs)
            assert await counted(counter, "chat", chat("y" * 10_000)) == (None, False)
            assert not counter.knows("m", "chat")
            assert counter.knows("m", "completion")
            assert counter.refused_total == 1
            released.set()

    run(work)


def test_a_template_beside_the_configuration_comes_first(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}!{% endfor %}")

    async def work() -> None:
        async with counting(folder) as counter:
            assert await counted(counter, "chat", chat("hello")) == (6, True)

    run(work)


@pytest.mark.parametrize(("template", "config"), [("", {}), ("{% broken", {}), (TEMPLATE, {"model_type": "gpt_oss"})])
def test_without_a_template_of_its_own_only_plain_text_is_counted(
    tmp_path: Path, template: str, config: dict[str, Any]
) -> None:
    async def work() -> None:
        async with counting(make_model(tmp_path / "m", template, **config)) as counter:
            assert not counter.knows("m", "chat")
            assert counter.knows("m", "completion")
            assert not counter.knows("m", "rerank")

    run(work)


def test_a_model_that_is_not_here_or_broken_is_said_and_not_known(tmp_path: Path) -> None:
    async def work() -> None:
        counter = Tokenizing({}, tmp_path)
        words = await counter.load(TokenizerSource(model="m", source="org/none"))
        assert words == "m: no tokenizer.json of org/none is on this machine; lengths are estimated"
        (tmp_path / "tokenizer.json").write_text("{}")
        assert "can't be used" in await counter.load(TokenizerSource(model="m", source=str(tmp_path)))
        assert not counter.knows("m", "completion")
        assert await counted(counter, "completion", {"prompt": "x"}) == (None, False)
        counter.close()

    run(work)


def test_a_load_that_is_cancelled_in_the_moment_it_ends_is_cancelled(tmp_path: Path) -> None:
    """Else whoever waits for the gateway's tasks to end waits for ever: `asyncio.wait_for` of Python 3.11 does that."""
    counter = Tokenizing({}, tmp_path)

    async def work() -> None:
        loading = asyncio.create_task(counter.load(TokenizerSource(model="m", source=str(make_model(tmp_path / "m")))))
        await asyncio.sleep(0)  # it begins
        counter.close()
        counter._pool.shutdown(wait=True)  # its thread is done, and the loop has not heard
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading

    run(work)


def test_a_model_that_goes_is_forgotten(tmp_path: Path) -> None:
    async def work() -> None:
        async with counting(make_model(tmp_path / "m")) as counter:
            counter.forget("m")
            assert not counter.knows("m", "completion")

    run(work)


def test_the_folder_is_the_models_own_or_in_the_hubs_cache(tmp_path: Path) -> None:
    own = make_model(tmp_path / "own")
    assert find_folder("own", None, {}, tmp_path) == own
    assert find_folder("./own", None, {}, tmp_path) is not None
    hub = tmp_path / "hub" / "models--org--tiny"
    cached = make_model(hub / "snapshots" / "abc123")
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("abc123")
    env = {"HF_HUB_CACHE": str(tmp_path / "hub")}
    assert find_folder("org/tiny", None, env, tmp_path) == cached
    assert find_folder("org/tiny", "abc123", env, tmp_path) == cached
    assert find_folder("org/tiny", "other", env, tmp_path) is None
    assert find_folder("org/tiny", None, {"HF_HOME": str(tmp_path)}, tmp_path) == cached
    assert find_folder("org/../../x", None, env, tmp_path) is None
    assert find_folder("org/tiny", "../../../own", env, tmp_path) is None
