"""Rules on how the engine is started: flags, entry point, version, image, remote code, tokens. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from penstock.facts import GONE_FLAGS, VLLM_VERSION, find_model
from penstock.facts.flag_names import SERVE_FLAGS, is_serve_flag
from penstock.facts.flags import ADDED_FLAGS, GoneFlag, version_key
from penstock.operate.doctor.case import Case
from penstock.operate.doctor.charts import model_specs
from penstock.operate.doctor.engines import Engine
from penstock.operate.doctor.evidence import Node
from penstock.operate.doctor.findings import Hit, Rule, Severity
from penstock.operate.doctor.flags import Flag
from penstock.operate.doctor.images import Image, image_of
from penstock.spec.nearest import nearest

__all__ = ["RULES"]

_OWN_RULE = {"--disable-log-requests": "PS002", "--num-scheduler-steps": "PS003"}
_GONE = {gone.name: gone for gone in GONE_FLAGS}
_MINORS_KEPT = 2
"""An engine older than current - 2 gets no fixes."""
_SHA = re.compile(r"[0-9a-f]{40}\Z")
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{20,}")
_OLD_TOKENS = ("HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")
"""The variable's old name, and what people make of it, which nothing reads."""
_OLD_TOKEN = re.compile(r"(?:--from-literal=|literal=)?(HUGGING_?FACE_HUB_TOKEN)(?:=|$)")


def _gone(case: Case, engine: Engine, flag: Flag) -> GoneFlag | None:
    """What the newest engine says of a flag; a version that was asked for is taken at its word."""
    gone = _GONE.get(flag.name.partition(".")[0])
    told = engine.version if engine.asked_version and not engine.is_dated else case.newest_version
    return None if gone is None or version_key(told) < version_key(gone.gone_in) else gone


def _gone_hit(engine: Engine, flag: Flag, gone: GoneFlag) -> Hit:
    if engine.is_dated and engine.is_older_than(gone.gone_in):
        return Hit(
            where=flag.where,
            message=f"{engine.title}: vLLM {engine.version} still takes {gone.name}; {gone.gone_in} does not start"
            " with it",
            evidence=flag.shown,
            fix=f"delete {flag.shown} with the next update",
            severity=Severity.INFO,
        )
    said = f"vLLM {engine.version} has no {gone.name} and does not start with it"
    is_guess = engine.is_foreign_image
    if is_guess:
        said += f" (the image {engine.image.text if engine.image else ''} does not tell its version)"
    is_safe = not gone.instead.startswith("--") or flag.name in _OWN_RULE
    return Hit(
        where=flag.where,
        message=f"{engine.title}: {said}",
        evidence=flag.shown,
        fix=f"delete {flag.shown}{_instead(gone)}",
        severity=Severity.WARNING if is_guess else None,
        edits=flag.node.removed(flag.items) if flag.node is not None and is_safe else (),
    )


def _instead(gone: GoneFlag) -> str:
    """What to do besides, where there is anything."""
    if gone.instead.startswith("--"):
        return f"; use {gone.instead}"
    return gone.instead.removeprefix("nothing") if gone.instead.startswith("nothing:") else ""


def _gone_flags(case: Case, code: str) -> Iterator[Hit]:
    for engine in case.engines:
        for flag in engine.flags:
            gone = _gone(case, engine, flag)
            if gone is not None and _OWN_RULE.get(gone.name, "PS101") == code:
                yield _gone_hit(engine, flag, gone)


def _disable_log_requests(case: Case) -> Iterator[Hit]:
    return _gone_flags(case, "PS002")


def _num_scheduler_steps(case: Case) -> Iterator[Hit]:
    return _gone_flags(case, "PS003")


def _other_gone_flags(case: Case) -> Iterator[Hit]:
    return _gone_flags(case, "PS101")


def _not_yet(case: Case) -> Iterator[Hit]:
    for engine in case.engines:
        for flag in engine.flags:
            since = ADDED_FLAGS.get(flag.name)
            if since is not None and engine.is_version_known and engine.is_older_than(since):
                yield Hit(
                    where=flag.where,
                    message=f"{engine.title}: vLLM {engine.version} has no {flag.name} yet: it came with {since}",
                    evidence=flag.shown,
                    fix=f"use an image of {since} or newer",
                )


def _unknown_flag(case: Case) -> Iterator[Hit]:
    current = version_key(VLLM_VERSION)[:2]
    for engine in case.whole_engines:
        if not engine.is_version_known or version_key(engine.version)[:2] != current:
            continue
        for flag in engine.flags:
            if flag.name.startswith("--") and not is_serve_flag(flag.name) and flag.name.partition(".")[0] not in _GONE:
                near_names = nearest(flag.name.removeprefix("--"), SERVE_FLAGS)
                near = f"; did you mean --{near_names[0]}?" if near_names else ""
                yield Hit(
                    where=flag.where,
                    message=f"{engine.title}: vLLM {engine.version} has no flag {flag.name} and exits with 2{near}",
                    evidence=flag.shown,
                    fix=f"write --{near_names[0]}" if near_names else "delete it",
                )


def _caching_off(case: Case) -> Iterator[Hit]:
    names = {
        "--no-enable-prefix-caching": "prefix caching",
        "--no-enable-chunked-prefill": "chunked prefill",
    }
    for engine in case.engines:
        for flag in engine.flags:
            is_off = flag.name in names or (
                f"--no-{flag.name[2:]}" in names and (flag.value or "").lower() in ("false", "0")
            )
            if is_off:
                what = names.get(flag.name) or names[f"--no-{flag.name[2:]}"]
                yield Hit(
                    where=flag.where,
                    message=f"{engine.title} turns {what} off, which vLLM has on by default",
                    evidence=flag.shown,
                    edits=flag.node.removed(flag.items) if flag.node is not None else (),
                )
    for spec in _all_specs(case):
        for key, what in (("enablePrefixCaching", "prefix caching"), ("enableChunkedPrefill", "chunked prefill")):
            node = spec.at("vllmConfig", key)
            if node.value is False:
                yield Hit(
                    where=node.key_where,
                    message=f"model {spec['name'].text} turns {what} off: the chart makes"
                    f" --no-{'enable-prefix-caching' if 'Prefix' in key else 'enable-chunked-prefill'} of `false`",
                    evidence=node.shown,
                    fix=f"set {key}: true",
                    edits=node.replaced("true"),
                )


def _all_specs(case: Case) -> Iterator[Node]:
    return (spec for resource in case.resources for spec in model_specs(resource))


def _caching_left_to_chart(case: Case) -> Iterator[Hit]:
    for spec in _all_specs(case):
        config = spec["vllmConfig"]
        if not config or "enablePrefixCaching" in config.mapping:
            continue
        if find_model(spec["modelURL"].text or "llama").task == "embed":
            continue
        yield Hit(
            where=config.key_where,
            message=f"model {spec['name'].text} leaves enablePrefixCaching out, which the chart turns into"
            " --no-enable-prefix-caching",
            evidence="vllmConfig without enablePrefixCaching",
            fix="set vllmConfig.enablePrefixCaching: true",
        )


def _old_entry(case: Case) -> Iterator[Hit]:
    for engine in case.whole_engines:
        if engine.entry is not None and not engine.is_older_than("0.6.0"):
            yield Hit(
                where=engine.entry.where,
                message=f"{engine.title} starts vLLM by its old module {engine.entry.text}",
                evidence=engine.entry.text,
                fix=f"vllm serve {engine.model or 'MODEL'} …, with the same flags",
            )


def _old_version(case: Case) -> Iterator[Hit]:
    newest = version_key(case.newest_version)
    for engine in case.whole_engines:
        version = engine.image.version if engine.image is not None else None
        if version is None or engine.image is None:
            continue
        key = version_key(version)
        if key[0] == newest[0] and key[1] >= newest[1] - _MINORS_KEPT:
            continue
        yield Hit(
            where=engine.image_node.where if engine.image_node is not None else engine.where,
            message=f"{engine.title} runs vLLM {version}, older than {newest[0]}.{newest[1] - _MINORS_KEPT}:"
            " it gets no fixes any more",
            evidence=engine.image.text,
            fix=f"pin v{case.newest_version} or one of the two minor versions before it",
        )


def _floating_image(case: Case) -> Iterator[Hit]:
    for container in case.containers:
        image = container.image
        if image is not None and image.is_floating and image.repository:
            yield _floating_hit(container.node["image"], image, f"container {container.name}")
    for resource in case.resources:
        if resource.is_object and resource.kind in ("Deployment", "StatefulSet", "Job", "Pod", "Node"):
            continue
        for node in resource.root.walk():
            if not isinstance(node.value, dict) or node["containers"]:
                continue
            repository = node["repository"].text or (
                node["newName"].text or node["name"].text if node["newTag"] else ""
            )
            tag = node["newTag"] if node["newTag"] else node["tag"]
            if repository and tag and "/" not in tag.text and not node["digest"].text:
                image = Image(repository=repository, tag=tag.text)
                if image.is_floating:
                    yield _floating_hit(tag, image, repository)
            elif node["image"].text and (node["ports"] or node["restart"] or node["environment"]) and not resource.kind:
                image = image_of(node["image"].text)  # a Compose file's service
                if image.is_floating:
                    yield _floating_hit(node["image"], image, "the service")
    yield from _floating_commands(case)


def _floating_hit(node: Node, image: Image, what: str) -> Hit:
    return Hit(
        where=node.where,
        message=f"{what} runs {image.text}: what that is changes under you",
        evidence=node.shown,
        fix=f"pin {image.repository}:VERSION@sha256:DIGEST",
    )


def _floating_commands(case: Case) -> Iterator[Hit]:
    for command in case.commands:
        is_run = command.program in ("docker", "podman", "nerdctl") and "run" in command.texts[1:3]
        is_from = command.snippet.kind == "dockerfile" and command.texts[:1] == ["FROM"]
        for word in command.words[1:]:
            if word.text.startswith(("-", "$")) or not re.match(r"[\w.-]+(:\d+)?(/[\w.-]+)*(:[\w.-]+)?$", word.text):
                continue
            image = image_of(word.text)
            if (is_run and image.tag and image.is_floating and "/" in word.text + "/") or (
                is_from and word is command.words[1] and image.is_floating and image.repository != "scratch"
            ):
                if is_run and "/" not in image.repository and image.tag != "latest":
                    continue
                yield Hit(
                    where=command.where(word),
                    message=f"the command runs {image.text}: what that is changes under you",
                    evidence=command.shown,
                    fix=f"pin {image.repository}:VERSION",
                )
                break


def _remote_code(case: Case) -> Iterator[Hit]:
    for engine in case.engines:
        flag = engine.flags.find("trust-remote-code")
        if flag is None or (flag.value or "true").lower() == "false":
            continue
        if _SHA.match(engine.flags.text("code-revision") or engine.flags.text("revision") or ""):
            continue
        yield Hit(
            where=flag.where,
            message=f"{engine.title} runs whatever code {engine.model or 'the model'}'s repository holds that day",
            evidence=flag.shown,
        )


def _old_token(case: Case) -> Iterator[Hit]:
    for container in case.containers:
        names = {env["name"].text for env in container.env_nodes}
        for env in container.env_nodes:
            name = env["name"].text
            if name in _OLD_TOKENS:
                yield Hit(
                    where=env["name"].where,
                    message=f"container {container.name} gets the token as {name}, not as HF_TOKEN",
                    evidence=f"name: {name}",
                    edits=env["name"].replaced("HF_TOKEN") if "HF_TOKEN" not in names else (),
                )
    for resource in case.resources:
        if resource.kind in ("ConfigMap", "Secret") or not resource.is_object:
            for node in resource.root.walk():
                is_key = bool(node.path) and node.path[-1] in _OLD_TOKENS
                is_name = bool(node.path) and node.path[-1] == "name" and node.value in _OLD_TOKENS
                if is_key or (is_name and not resource.is_object):
                    name = str(node.path[-1] if is_key else node.value)
                    yield Hit(
                        where=node.key_where if is_key else node.where,
                        message=f"the token's variable is called {name}, not HF_TOKEN",
                        evidence=name,
                        edits=node.replaced("HF_TOKEN", of_key=is_key),
                    )
    for command in case.commands:
        for word in (*command.assignments, *command.words):
            match = _OLD_TOKEN.match(word.text)
            if match is not None:
                yield Hit(
                    where=command.where(word),
                    message=f"the command sets {match.group(1)}, not HF_TOKEN",
                    evidence=match.group(1),
                )


def _token_inline(case: Case) -> Iterator[Hit]:
    for container in case.containers:
        for env in container.env_nodes:
            name, value = env["name"].text, env["value"].text
            is_token = name in ("HF_TOKEN", *_OLD_TOKENS) and value and "$" not in value
            if is_token or _TOKEN.search(value):
                yield Hit(
                    where=env["value"].where,
                    message=f"container {container.name} has the value of {name} in the file, for all to read",
                    evidence=f"{name}: (hidden)",
                )
    for resource in case.resources:
        if resource.kind == "Secret" or (resource.is_object and resource.kind != "ConfigMap"):
            continue
        for node in resource.root.walk():
            if isinstance(node.value, str) and _TOKEN.search(node.value):
                yield Hit(
                    where=node.where,
                    message="a Hugging Face token stands in the file, for all to read",
                    evidence=f"{node.path[-1] if node.path else ''}: (hidden)",
                )


RULES = (
    Rule(
        id="PS002-disable-log-requests",
        title="`--disable-log-requests` is gone",
        severity=Severity.ERROR,
        rows=(2,),
        consequence="The engine exits with 2 (unrecognized arguments) and the pod never starts.",
        fix="Delete it: logging of requests is off by default; `--enable-log-requests` turns it on.",
        check=_disable_log_requests,
    ),
    Rule(
        id="PS003-num-scheduler-steps",
        title="`--num-scheduler-steps` is gone",
        severity=Severity.ERROR,
        rows=(3,),
        consequence="It went with the V0 engine; the engine exits with 2 and the pod never starts.",
        fix="Delete it: async scheduling is on by default; tune `--max-num-batched-tokens` or `--performance-mode`.",
        check=_num_scheduler_steps,
    ),
    Rule(
        id="PS101-gone-engine-flag",
        title="A flag that this engine no longer has",
        severity=Severity.ERROR,
        rows=(2, 3),
        consequence="The engine exits with 2 (unrecognized arguments) and the pod never starts.",
        fix="Delete the flag, or use what replaced it.",
        check=_other_gone_flags,
    ),
    Rule(
        id="PS102-flag-not-yet",
        title="A flag that this engine does not have yet",
        severity=Severity.ERROR,
        rows=(29,),
        consequence="The engine exits with 2 (unrecognized arguments) and the pod never starts.",
        fix="Use a newer image, or leave the flag out.",
        check=_not_yet,
    ),
    Rule(
        id="PS103-unknown-engine-flag",
        title="A flag that no engine of this version has",
        severity=Severity.ERROR,
        rows=(2,),
        consequence="The engine exits with 2 (unrecognized arguments) and the pod never starts.",
        fix="Correct its name; `vllm serve --help=all` lists what there is.",
        check=_unknown_flag,
    ),
    Rule(
        id="PS004-caching-turned-off",
        title="Prefix caching or chunked prefill is turned off",
        severity=Severity.WARNING,
        rows=(4,),
        consequence="Both are on by default and nearly free: without them shared prompts are computed again each time,"
        " and a long prompt stalls every running answer.",
        fix="Leave both unset, which means the engine's default; in the production-stack chart set them to true.",
        check=_caching_off,
    ),
    Rule(
        id="PS105-caching-left-to-chart",
        title="The production-stack chart turns prefix caching off where it is not set",
        severity=Severity.INFO,
        rows=(4,),
        consequence="The engine runs without prefix caching although nobody asked for that.",
        fix="Set `vllmConfig.enablePrefixCaching: true`.",
        check=_caching_left_to_chart,
    ),
    Rule(
        id="PS038-old-entry-point",
        title="vLLM is started by its old module",
        severity=Severity.WARNING,
        rows=(38,),
        consequence="The module is deprecated; it misses what `vllm serve` does before the server starts.",
        fix="`vllm serve MODEL` with the same flags.",
        check=_old_entry,
    ),
    Rule(
        id="PS144-old-engine",
        title="The engine is older than the last three minor versions",
        severity=Severity.WARNING,
        rows=(38,),
        consequence="No fixes, no security patches; flags, metrics and defaults differ from what is written today.",
        fix="Pin a current version, and read what its flags became.",
        check=_old_version,
    ),
    Rule(
        id="PS039-floating-image",
        title="The image is not pinned",
        severity=Severity.WARNING,
        rows=(39,),
        consequence="Two pods of one Deployment may run different engines, and a rollback brings nothing back.",
        fix="Pin a version tag, better with its digest.",
        check=_floating_image,
    ),
    Rule(
        id="PS040-trust-remote-code",
        title="The engine runs code from the model's repository",
        severity=Severity.WARNING,
        rows=(40,),
        consequence="Whoever can push to that repository runs code on your GPU nodes, with the pod's secrets.",
        fix="Drop `--trust-remote-code`; where a model needs it, pin its `--revision` to a commit that you have read.",
        check=_remote_code,
    ),
    Rule(
        id="PS037-old-token-name",
        title="The Hugging Face token has its old name",
        severity=Severity.WARNING,
        rows=(37,),
        consequence="Newer libraries read HF_TOKEN only: gated models answer 401.",
        fix="Call it HF_TOKEN.",
        check=_old_token,
    ),
    Rule(
        id="PS143-token-in-file",
        title="A Hugging Face token stands in the file",
        severity=Severity.ERROR,
        rows=(37,),
        consequence="Whoever reads the file, the repository or the object has the token.",
        fix="Revoke it; take the new one from a Secret with `valueFrom.secretKeyRef`.",
        check=_token_inline,
    ),
)
