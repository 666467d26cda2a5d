"""Engines: every place in the evidence where vLLM is told how to run, in one shape. Pure.

A container, an entry of the production-stack chart's values, a command in a script, one of our own fleet files, a loose
list of flags in somebody's values file. Guarantees: each flag is seen once, at the place where it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from penstock.facts import VLLM_VERSION, Gpu
from penstock.facts.flags import version_key
from penstock.facts.node_labels import gpu_of_label
from penstock.operate.doctor.evidence import Node, Resource, Snippet
from penstock.operate.doctor.findings import Where
from penstock.operate.doctor.flags import Arg, Flags, is_distinctive, parse_flags, substituted, texts
from penstock.operate.doctor.images import Image, image_of
from penstock.operate.doctor.pods import Container, Pod
from penstock.operate.doctor.shell import Command, commands, split_words

__all__ = ["Engine", "Form", "command_engines", "container_engine", "fragments", "gpu_of_pod", "served_command"]

Form = Literal["container", "chart", "command", "fleet", "fragment"]
_MODULE = re.compile(r"vllm\.entrypoints(\.openai)?\.(api_server|run_batch)")
_SHELLS = frozenset({"sh", "bash", "ash", "zsh", "dash"})
_MORE_FLAGS = frozenset({"VLLM_ADDITIONAL_ARGS", "VLLM_EXTRA_ARGS"})
"""Variables whose flags an image's own start script adds."""
_RESERVED = frozenset({"nvidia.com/gpu", "amd.com/gpu"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Engine:
    """One way that vLLM is started."""

    form: Form
    where: Where
    title: str
    flags: Flags
    image: Image | None = None
    image_node: Node | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    """Hub name or path; "" where it is not told."""
    model_where: Where | None = None
    gpus: int | None = None
    """GPUs of one pod; None where they are not told."""
    gpus_where: Where | None = None
    mig: str = ""
    """The profile of the slices that it asks for, as in `1g.10gb`."""
    gpu: Gpu | None = None
    """What its nodes have, where its placement says so."""
    pod: Pod | None = None
    container: Container | None = None
    chart: Node | None = None
    """The chart's `modelSpec` entry."""
    replicas: int | None = None
    entry: Arg | None = None
    """The old module, where it is started by that."""
    asked_version: str = ""

    @property
    def is_version_known(self) -> bool:
        return bool(self.asked_version or (self.image and self.image.version))

    @property
    def is_dated(self) -> bool:
        """Whether the image itself tells its version."""
        return self.image is not None and self.image.version is not None

    @property
    def is_foreign_image(self) -> bool:
        """Whether the image is somebody's own build, whose version its tag does not tell."""
        image = self.image
        return image is not None and image.version is None and not (image.is_engine and image.is_floating)

    @property
    def version(self) -> str:
        """The engine's version; the newest known one where nothing tells it."""
        return (self.image and self.image.version) or self.asked_version or VLLM_VERSION

    def is_older_than(self, version: str) -> bool:
        return version_key(self.version) < version_key(version)

    @property
    def is_whole(self) -> bool:
        """Whether this is a whole engine, not a loose piece of its flags."""
        return self.form != "fragment"

    @property
    def tensor(self) -> int:
        return self.flags.size("tensor-parallel-size")

    @property
    def pipeline(self) -> int:
        return self.flags.size("pipeline-parallel-size")

    @property
    def data(self) -> int:
        """Data-parallel ranks in this pod."""
        local = self.flags.number("data-parallel-size-local")
        if local is not None:
            return max(1, int(local))
        is_spread = self.flags.find("data-parallel-rank", "data-parallel-external-lb", "nnodes") is not None
        return 1 if is_spread else self.flags.size("data-parallel-size")


def served_command(args: Sequence[Arg]) -> tuple[Sequence[Arg], Arg | None] | None:
    """The words after `vllm serve` or the old module, and that module's word; None where neither is there."""
    words = texts(args)
    for place, word in enumerate(words):
        base = word.rpartition("/")[2]
        if base == "vllm" and words[place + 1 : place + 2] == ["serve"]:
            return args[place + 2 :], None
        if _MODULE.fullmatch(word) and place and words[place - 1] == "-m":
            return args[place + 1 :], args[place]
        if word.endswith("vllm/entrypoints/openai/api_server.py"):
            return args[place + 1 :], args[place]
    return None


def _command_args(command: Command, values: Mapping[str, str]) -> list[Arg]:
    known = {**values, **dict(a.text.split("=", 1) for a in command.assignments)}
    found: list[Arg] = []
    for word in command.words:
        text = substituted(word.text, known)
        if text != word.text and " " in text:
            found += [Arg(text=part.text, where=command.where(word)) for part in split_words(text)]
        else:
            found.append(Arg(text=text, where=command.where(word)))
    return found


def _script_served(snippet: Snippet, values: Mapping[str, str]) -> Iterator[tuple[Command, Sequence[Arg], Arg | None]]:
    known = dict(values)
    for command in commands(snippet):
        if not command.words or command.program == "export":
            pairs = [*command.assignments, *command.words[1:]]
            known.update(pair.text.split("=", 1) for pair in pairs if "=" in pair.text)  # type: ignore[misc]
            continue
        served = served_command(_command_args(command, known))
        if served is not None:
            yield command, *served


def container_engine(container: Container, values: Mapping[str, str], asked_version: str) -> Engine | None:
    """The engine that a container runs; None where it runs something else. `values` are its environment."""
    found = _container_args(container, values)
    if found is None:
        return None
    args, entry = found
    flags = parse_flags([*args, *_outside_args(container, args)])
    pod = container.pod
    gpus, gpus_where, mig = _gpus(container)
    model, model_where = _model(flags, values, container)
    return Engine(
        form="container",
        where=container.node["name"].where if container.name else container.node.where,
        title=f"{pod.title}, container {container.name}" if container.name else pod.title,
        flags=flags,
        image=container.image,
        image_node=container.node["image"],
        env=values,
        model=model,
        model_where=model_where,
        gpus=gpus,
        gpus_where=gpus_where,
        mig=mig,
        gpu=gpu_of_pod(pod),
        pod=pod,
        container=container,
        replicas=pod.replicas,
        entry=entry,
        asked_version=asked_version,
    )


def _outside_args(container: Container, args: Sequence[Arg]) -> Iterator[Arg]:
    """What KServe adds to the command line: the object's parallelism, and a variable of more flags."""
    root = container.pod.resource.root
    if root.resource.kind == "LLMInferenceService":
        for name in ("tensor", "pipeline", "data"):
            node = root.at("spec", "parallelism", name)
            if node.text:
                yield Arg(text=f"--{name}-parallel-size={node.text}", where=node.where)
    seen = {arg.text for arg in args}
    for env in container.env_nodes:
        if env["name"].text in _MORE_FLAGS and env["value"].text:
            shift = env.resource.tree.inside(env["value"].path)
            for word in split_words(env["value"].text):
                if word.text not in seen:
                    place = shift.place(word.line, word.column)
                    yield Arg(text=word.text, where=replace(env["value"].where, line=place.line, column=place.column))


def _container_args(container: Container, values: Mapping[str, str]) -> tuple[Sequence[Arg], Arg | None] | None:
    """The engine's words of a container, from its list, its script or what its image runs."""
    nodes = [*container.node["command"], *container.node["args"]]
    words = _list_args(nodes, values)
    is_shell = bool(words) and words[0].text.rpartition("/")[2] in _SHELLS
    if is_shell or (len(words) == 1 and " " in words[0].text):
        for node in nodes:
            snippet = Snippet(
                kind="shell",
                file=node.resource.file,
                text=node.text,
                shift=node.resource.tree.inside(node.path),
                object=node.resource.title,
            )
            for _, args, entry in _script_served(snippet, values):
                return args, entry
    served = served_command(words)
    if served is not None:
        return served
    if container.is_init or is_shell:
        return None
    has_command = bool(container.node["command"].value)
    is_named = container.image is not None and container.image.is_engine
    if is_named and not has_command:
        return [arg for arg in words if arg.text != "serve"], None
    if container.node["modelFormat"] and _is_vllm_format(container.node):
        return words, None
    if any(is_distinctive(arg.text) for arg in words):
        return words, None
    return None


def _is_vllm_format(node: Node) -> bool:
    names = (node.at("modelFormat", "name").text + node["runtime"].text).lower()
    return "vllm" in names or "huggingface" in names


def _list_args(nodes: Sequence[Node], values: Mapping[str, str]) -> list[Arg]:
    found: list[Arg] = []
    for node in nodes:
        text = substituted(node.text, values)
        if (text != node.text and " --" in f" {text}" and " " in text) or (
            text.startswith("--") and " " in text.strip() and not text.partition("=")[2]
        ):
            found += [Arg(text=part.text, where=node.where) for part in split_words(text)]
        else:
            found.append(Arg(text=text, where=node.where, node=node))
    return found


def _gpus(container: Container) -> tuple[int | None, Where | None, str]:
    for name in _RESERVED:
        amount = container.amount(name)
        if amount is not None:
            return int(amount), container.resource_node(name).where, ""
    for table in ("limits", "requests"):
        for key, node in container.node.at("resources", table).fields():
            if key.startswith("nvidia.com/mig-"):
                return int(node.number or 1), node.where, key.removeprefix("nvidia.com/mig-").lower()
    return None, None, ""


def _model(flags: Flags, values: Mapping[str, str], container: Container | None) -> tuple[str, Where | None]:
    flag = flags.find("model", "model_id", "model-id")
    if flag is not None and flag.value:
        return flag.value, flag.where
    if flags.words and not flags.words[0].text.startswith("-"):
        return flags.words[0].text, flags.words[0].where
    if container is not None:
        root = container.pod.resource.root
        for node in (container.node["storageUri"], root.at("spec", "model", "uri")):
            if node.text.startswith("hf://"):
                return node.text.removeprefix("hf://"), node.where
    for name in ("VLLM_MODEL", "MODEL_ID", "MODEL_NAME", "MODEL"):
        if values.get(name):
            return values[name], None
    return "", None


def gpu_of_pod(pod: Pod) -> Gpu | None:
    """The GPU that its placement promises; the smallest where several would do."""
    for key, values, _ in pod.demanded_labels:
        gpus = [gpu_of_label(key, value) for value in values]
        known = [gpu for gpu in gpus if gpu is not None]
        if known and len(known) == len(gpus):
            return min(known, key=lambda gpu: gpu.memory_bytes)
    return None


def command_engines(snippet: Snippet, asked_version: str) -> Iterator[Engine]:
    """Engines that a script or a page starts, directly or in a container."""
    for command, args, entry in _script_served(snippet, {}):
        yield _command_engine(command, args, entry, None, asked_version)
    for command in commands(snippet):
        if command.program not in ("docker", "podman", "nerdctl") or "run" not in command.texts[1:3]:
            continue
        words = _command_args(command, {})
        place = next((n for n, arg in enumerate(words) if n and _is_engine_image(arg.text)), None)
        if place is not None and served_command(words) is None:
            image = image_of(words[place].text)
            yield _command_engine(command, words[place + 1 :], None, image, asked_version)


def _is_engine_image(text: str) -> bool:
    return not text.startswith("-") and "=" not in text and image_of(text).is_engine


def _command_engine(
    command: Command, args: Sequence[Arg], entry: Arg | None, image: Image | None, asked_version: str
) -> Engine:
    flags = parse_flags(args)
    model, model_where = _model(flags, {}, None)
    if image is None:
        image = next((image_of(text) for text in command.texts if _is_engine_image(text) and ":" in text), None)
    return Engine(
        form="command",
        where=command.where(),
        title="the command",
        flags=flags,
        image=image,
        model=model,
        model_where=model_where,
        entry=entry,
        asked_version=asked_version,
    )


def fragments(resource: Resource, seen: set[tuple[str | int, ...]], asked_version: str) -> Iterator[Engine]:
    """Loose flags of vLLM in anything else: lists and texts in values files, ConfigMaps, patches, environments."""
    for node in resource.root.walk():
        if any(node.path[: len(path)] == path for path in _near(node.path, seen)):
            continue
        args: list[Arg] = []
        value = node.value
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            if any(is_distinctive(item) for item in value):
                args = _list_args(list(node), {})
        elif isinstance(value, str) and value.lstrip().startswith("--") and not isinstance(node.path[-1], int):
            shift = resource.tree.inside(node.path)
            snippet = Snippet(kind="shell", file=resource.file, text=value, shift=shift, object=resource.title)
            args = [Arg(text=w.text, where=snippet.where(w.line, w.column)) for w in split_words(value)]
        elif isinstance(value, dict) and sum(is_distinctive(f"--{key}") for key in value if "-" in str(key)) >= 2:
            args = _config_args(node)
        if any(is_distinctive(arg.text) for arg in args):
            flags = parse_flags(args)
            title = resource.title or resource.file
            yield Engine(form="fragment", where=node.where, title=title, flags=flags, asked_version=asked_version)


def _near(path: tuple[str | int, ...], seen: set[tuple[str | int, ...]]) -> Iterator[tuple[str | int, ...]]:
    return (path[:end] for end in range(len(path) + 1) if path[:end] in seen)


def _config_args(node: Node) -> list[Arg]:
    """A file for `vllm serve --config`: its keys are flags."""
    found: list[Arg] = []
    for key, value in node.fields():
        if value.value is False or value.value is None:
            continue
        text = f"--{key}" if value.value is True or isinstance(value.value, dict | list) else f"--{key}={value.text}"
        found.append(Arg(text=text, where=value.key_where, node=value))
    return found
