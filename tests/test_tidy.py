"""The source keeps the rules of the house: lengths, names, where I/O may be, a test file for each module.

Reads the source as text and syntax tree; imports nothing of it. A rule that is in the way is changed here, in the
commit that needs it, with the reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "penstock"
TESTS = ROOT / "tests"

MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
BANNED_WORDS = {"manager", "helper", "helpers", "util", "utils", "data", "info", "common", "misc", "handler2"}
IMPURE = {
    *("aiohttp", "asyncio", "http.client", "http.server", "multiprocessing", "requests", "select", "selectors"),
    *("signal", "socket", "socketserver", "ssl", "starlette", "subprocess", "threading", "time", "urllib.request"),
    *("uvicorn", "uvloop"),
}
EDGES = {"io", "cli", "dashboard"}
"""Folders whose modules may touch sockets, files, processes, clocks and threads."""
TASKS_MODULE = SOURCE / "serve" / "io" / "tasks.py"
"""The one place that starts a task outside a TaskGroup: it keeps, names and observes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One file of the source."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def shown(self) -> str:
        return str(self.path.relative_to(SOURCE))

    @property
    def is_edge(self) -> bool:
        return bool(EDGES & set(self.path.relative_to(SOURCE).parts[:-1]))

    @property
    def test_file(self) -> Path:
        return TESTS / self.path.relative_to(SOURCE).parent / f"test_{self.path.name}"

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def imports(self) -> Iterator[str]:
        """Every module that is imported, in dotted form; `from a import b` gives `a` and `a.b`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module or ""
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def modules() -> tuple[Module, ...]:
    paths = sorted(path for path in SOURCE.rglob("*.py") if "__pycache__" not in path.parts)
    return tuple(Module(path=p, text=(text := p.read_text(encoding="utf-8")), tree=ast.parse(text)) for p in paths)


def named(found: Iterator[tuple[Module, object]]) -> list[str]:
    """Findings as lines to read: `serve/record.py: what`."""
    return [f"{module.shown}: {what}" for module, what in found]


def test_there_is_a_source_to_read() -> None:
    assert len(modules()) > 20


def test_modules_are_short() -> None:
    assert named((m, n) for m in modules() if (n := len(m.text.splitlines())) > MODULE_LINES_MAX) == []


def test_functions_are_short() -> None:
    """In `cli/` the body counts: the signature of a command is the declaration of its options."""

    def lines(module: Module, function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
        first = function.body[0] if module.path.parent.name == "cli" else function
        return (function.end_lineno or 0) - first.lineno + 1

    long = (
        (module, f"{function.name} has {lines(module, function)} lines")
        for module in modules()
        for function in module.functions()
        if lines(module, function) > FUNCTION_LINES_MAX
    )
    assert named(long) == []


def test_modules_say_what_they_are_for() -> None:
    assert named((m, "no docstring") for m in modules() if not ast.get_docstring(m.tree)) == []


def test_packages_say_what_is_public() -> None:
    silent = (
        (module, "imports names without listing them in __all__")
        for module in modules()
        if module.path.name == "__init__.py" and any(module.imports()) and "__all__" not in module.text
    )
    assert named(silent) == []


def test_imports_are_absolute() -> None:
    relative = (
        (module, node.lineno)
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and node.level > 0
    )
    assert named(relative) == []


def test_names_say_what_things_are() -> None:
    def words(name: str) -> set[str]:
        return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}

    classes = (
        (module, node.name)
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and words(node.name) & BANNED_WORDS
    )
    files = ((module, module.path.stem) for module in modules() if words(module.path.stem) & BANNED_WORDS)
    assert named(classes) + named(files) == []


def test_only_edges_touch_the_world() -> None:
    impure = (
        (module, name)
        for module in modules()
        if not module.is_edge
        for name in sorted(set(module.imports()))
        if name in IMPURE or name.split(".")[0] in IMPURE
    )
    assert named(impure) == []


def test_pure_modules_do_not_import_edges() -> None:
    wrong = (
        (module, name)
        for module in modules()
        if not module.is_edge and module.path.name != "__main__.py"
        for name in sorted(set(module.imports()))
        if name.startswith("penstock.") and EDGES & set(name.split("."))
    )
    assert named(wrong) == []


def test_pure_modules_open_no_files() -> None:
    """Opening, reading or writing through a builtin or a Path is I/O too."""
    calls = {
        "open",
        "read_text",
        "write_text",
        "read_bytes",
        "write_bytes",
        "unlink",
        "mkdir",
        "iterdir",
        "print",
        "input",
    }

    def called(node: ast.Call) -> str:
        return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")

    wrong = (
        (module, f"line {node.lineno}: {called(node)}()")
        for module in modules()
        if not module.is_edge
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and called(node) in calls
    )
    assert named(wrong) == []


def test_tasks_belong_to_a_group() -> None:
    """`asyncio.create_task` loses exceptions and tasks; a TaskGroup, or the one named place, keeps them."""

    def is_loose(node: ast.AST) -> bool:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            return False
        owner = node.func.value
        owner_name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
        if isinstance(owner, ast.Call):
            owner_name = getattr(owner.func, "attr", getattr(owner.func, "id", ""))
        is_ours = owner_name == "asyncio" or owner_name.endswith("loop")
        return is_ours and node.func.attr in ("create_task", "ensure_future")

    loose = (
        (module, f"line {getattr(node, 'lineno', 0)}")
        for module in modules()
        if module.path != TASKS_MODULE
        for node in ast.walk(module.tree)
        if is_loose(node)
    )
    assert named(loose) == []


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")

    assert named((m, found.group()) for m in modules() if (found := marks.search(m.text))) == []


def has_logic(module: Module) -> bool:
    """Whether a module does anything: a function with more than a docstring or `...` in it."""
    return any(
        not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for function in module.functions()
        for statement in function.body
    )


def test_each_module_with_logic_has_its_test_file() -> None:
    untested = (
        (module, f"no {module.test_file.relative_to(ROOT)}")
        for module in modules()
        if not module.path.name.startswith("__") and has_logic(module) and not module.test_file.exists()
    )
    assert named(untested) == []


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_a_test_file_tests(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]

    assert functions
    sleeps = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep")
    ]
    assert sleeps == [], "tests wait for events, not for time"
