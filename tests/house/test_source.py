"""Sizes of files and functions, and words that must not occur in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.house.source import PACKAGE, ROOT, modules

FILE_LINES, FUNCTION_LINES = 400, 60


def test_files_are_of_readable_length() -> None:
    files = [*modules(), *(ROOT / "tests").rglob("*.py")]
    lengths = {p: len(p.read_text("utf-8").splitlines()) for p in files}
    assert not {str(p): n for p, n in lengths.items() if n > FILE_LINES}


def test_functions_are_of_readable_length() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    }
    assert not long


def forbidden(tree: ast.AST, *, may_write: bool) -> Iterator[tuple[int, str]]:
    """Line and reason of every call that could run code, hide a failure, or tear a file."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        named = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if called in ("eval", "exec", "os.system", "torch.save", "yaml.load", "print"):
            yield node.lineno, f"{called}()"
        if called.split(".")[0] in ("pickle", "marshal", "shelve", "dill"):
            yield node.lineno, f"{called}()"
        if called == "torch.load" and named.get("weights_only") != "True":
            yield node.lineno, "torch.load without weights_only=True"
        if named.get("shell") == "True":
            yield node.lineno, "shell=True"
        if not may_write and _writes(node, called, named):
            yield node.lineno, f"{called}() writes; use files.atomic_write"


def _writes(node: ast.Call, called: str, named: dict[str, str]) -> bool:
    name = called.rpartition(".")[2]
    if name in ("write_text", "write_bytes"):
        return True
    if name != "open":
        return False
    texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
    modes = [t for t in (*texts, named.get("mode", "").strip("'\"")) if isinstance(t, str)]
    return any(m and set(m) <= set("rwxabt+") and set(m) & set("wx") for m in modes)


def test_nothing_in_the_source_runs_foreign_code_or_tears_files() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {why}"
        for path in modules()
        for line, why in forbidden(
            ast.parse(path.read_text("utf-8")), may_write=path == PACKAGE / "machine" / "files.py"
        )
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "pickle.load(f)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "yaml.load(text)",
        "subprocess.run('ls', shell=True)",
        "torch.save(x, path)",
        "open('x', 'w')",
        "path.open('wb')",
        "path.open(mode='x')",
        "path.write_text('x')",
    ],
)
def test_each_forbidden_call_is_recognised(line: str) -> None:
    assert list(forbidden(ast.parse(line), may_write=False))


@pytest.mark.parametrize(
    "line",
    ["net.eval()", "torch.load(f, weights_only=True)", "yaml.safe_load(t)", "path.open('rb')"],
)
def test_harmless_calls_pass(line: str) -> None:
    assert not list(forbidden(ast.parse(line), may_write=False))


def test_nothing_names_a_home_folder() -> None:
    files: list[Path] = [*modules(), *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert not [
        str(p) for p in files if any(h in p.read_text("utf-8") for h in ("/home/", "/root"))
    ]
