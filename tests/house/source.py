"""The project's files, as the house tests read them: modules, documents, commands in documents."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "pixelwise"
DOCUMENTS = (
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
SHELLS = ("sh", "bash", "console")
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Import:
    """One module named in an import statement."""

    file: Path
    line: int
    module: str
    typing_only: bool
    """Under ``if TYPE_CHECKING``, so that it never happens."""

    @property
    def place(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[Import]:
    """Every import of a file, wherever it stands; ``from pixelwise import x`` names x."""
    yield from _imports(path, ast.parse(path.read_text("utf-8")), typing_only=False)


def _imports(path: Path, node: ast.AST, *, typing_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for name in child.names:
                yield Import(path, child.lineno, name.name, typing_only)
        elif isinstance(child, ast.ImportFrom):
            assert child.module, f"{path}:{child.lineno}: an import without a name"
            assert not child.level, f"{path}:{child.lineno}: a relative import"
            named = [f"{child.module}.{n.name}" for n in child.names]
            for module in named if child.module == "pixelwise" else [child.module]:
                yield Import(path, child.lineno, module, typing_only)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from _imports(path, child, typing_only=True)
        else:
            yield from _imports(path, child, typing_only=typing_only)


def blocks(document: Path, *languages: str) -> list[str]:
    """The fenced blocks of some languages."""
    found = _FENCE.findall(document.read_text("utf-8"))
    return [text for language, text in found if language in languages]


def prose(document: Path) -> str:
    """A document without its fenced blocks."""
    return _FENCE.sub("", document.read_text("utf-8"))


def shell_lines(document: Path) -> list[str]:
    """The commands in a document's shell blocks, one a line, without prompts and comments."""
    found = []
    for block in blocks(document, *SHELLS):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.removeprefix("$ ").strip()
            if command and not command.startswith("#"):
                found.append(command)
    return found


def pixelwise_calls(document: Path) -> list[list[str]]:
    """The arguments of every ``pixelwise`` command in a document's shell blocks and in backticks.

    In backticks only what has arguments beyond a command's name counts as a call.
    """
    found = [shlex.split(line, comments=True) for line in shell_lines(document)]
    inline = re.findall(r"`(pixelwise [^`\n]+)`", prose(document))
    found += [words for text in inline if (words := shlex.split(text))]
    calls = [words[1:] for words in found if words[0] == "pixelwise"]
    return [words[: words.index(">")] if ">" in words else words for words in calls]


def command_tree(command: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every command and group by its words."""
    tree = {path: command}
    for name, sub in getattr(command, "commands", {}).items():
        tree |= command_tree(sub, (*path, name))
    return tree


def commands() -> dict[tuple[str, ...], Any]:
    """Every command of the registry; the empty path is ``pixelwise`` itself."""
    from pixelwise.cli.app import command

    return command_tree(command())
