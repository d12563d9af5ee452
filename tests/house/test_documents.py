"""What the documents show can be typed, and what they name exists."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.house.floors import FLOORS
from tests.house.markdown import headings, links, numbers, table, tables
from tests.house.source import (
    DOCUMENTS,
    ROOT,
    SHELLS,
    blocks,
    commands,
    pixelwise_calls,
    prose,
    shell_lines,
)
from tests.house.steps import steps

import pixelwise
from pixelwise.errors import CODES, PixelwiseError
from pixelwise.metrics.protocols import choose
from pixelwise.nets.catalog import NETS
from pixelwise.predict.saving import KINDS
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import with_settings

COMMANDS = commands()
OTHER_PROGRAMS = (
    ".",
    "make",
    "pip",
    "python",
    "pre-commit",
    "torchrun",
    "export",
    "git",
    "curl",
    "cat",
    "cp",
    "mkdir",
    "echo",
    "head",
    "podman",
    "ray",
)
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
LARGEST_PICTURE = 250_000
# They may name what does not exist: old names, and what was not built.
HISTORY = ("lab-log.md",)

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT))
)


def is_placeholder(text: str) -> bool:
    return text.isupper()


def check_call(words: list[str]) -> None:
    """Parse a command line as the program would, without carrying it out."""
    of_all = ("--help", "-h", "--version", "--install-completion", "--show-completion")
    words = [w for w in words if w not in of_all]
    path: tuple[str, ...] = ()
    while words and (*path, words[0]) in COMMANDS:
        path, words = (*path, words[0]), words[1:]
    command = COMMANDS[path]
    if hasattr(command, "commands"):
        assert not words or is_placeholder(words[0]), (
            f"`{' '.join(path) or 'pixelwise'}` has no command `{words[0]}`"
        )
        return
    if not words:
        return  # the command is only named
    given = command.make_context(" ".join(path), list(words)).params
    check_values(path, given)


def check_values(path: tuple[str, ...], given: dict[str, object]) -> None:
    net = given.get("net") or (given.get("name") if path == ("nets",) else "")
    assert not net or is_placeholder(str(net)) or net in NETS, f"{path}: no net {net}"
    if path == ("train",):
        settings = [str(s) for s in given["settings"] or ()]
        with_settings(Recipe(weights="some", crop=(480, 480)), settings)  # as it is planned
    if given.get("protocol"):
        choose(str(given["protocol"]).split(","))
    if path == ("predict",):
        assert set(str(given["save"]).split(",")) <= set(KINDS)


@each_document
def test_every_pixelwise_command_parses(document: Path) -> None:
    refused = "\n".join(step.text for step in steps(document) if "exits" in step.marks)
    for words in pixelwise_calls(document):
        if "..." in words or shlex.join(words) in refused:  # that is carried out, and shown
            continue
        try:
            check_call(words)
        except Exception as error:
            error.add_note(f"{document.name}: pixelwise {shlex.join(words)}")
            raise


@each_document
def test_shell_blocks_are_valid_and_run_known_programs(document: Path) -> None:
    for block in blocks(document, *SHELLS):
        done = subprocess.run(
            ["bash", "-n"], input=block, text=True, capture_output=True, check=False, timeout=10
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
    programs = {line.split()[0] for line in shell_lines(document)}
    assert programs <= {"pixelwise", *OTHER_PROGRAMS}


@each_document
def test_make_targets_exist(document: Path) -> None:
    made = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    asked = [line.split()[1:] for line in shell_lines(document) if line.startswith("make ")]
    asked += [text.split() for text in re.findall(r"`make ([\w -]+)`", prose(document))]
    assert {target for targets in asked for target in targets} <= set(made)


@each_document
def test_python_blocks_compile_and_use_public_names(document: Path) -> None:
    for block in blocks(document, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.value.id != "pw" or node.attr in pixelwise.__all__, node.attr


@each_document
def test_what_python_blocks_import_is_there(document: Path) -> None:
    for code in blocks(document, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pixelwise"):
                module = importlib.import_module(node.module)
                missing = [name.name for name in node.names if not hasattr(module, name.name)]
                assert not missing, f"{document.name}: {node.module} has no {missing}"


@each_document
def test_json_and_yaml_blocks_are_valid(document: Path) -> None:
    for block in blocks(document, "json"):
        json.loads(block)
    for block in blocks(document, "yaml"):
        yaml.safe_load(block)


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    missing = [t for t in links(document) if not (document.parent / t).exists()]
    assert not missing


def test_pictures_are_small() -> None:
    pictures = [p for p in (ROOT / "docs" / "images").glob("*") if p.suffix != ".md"]
    assert not [p.name for p in pictures if p.stat().st_size > LARGEST_PICTURE]


@each_document
def test_files_named_exist(document: Path) -> None:
    if document.name in HISTORY:
        return
    named = re.findall(r"`((?:src|tests|docs|benchmarks|recipes)/[\w./-]+)`", prose(document))
    assert not [n for n in named if not (ROOT / n).exists()]


@each_document
def test_nets_named_are_in_the_catalogue(document: Path) -> None:
    named = set(re.findall(r"`(fcn\d+s-[a-z0-9-]+)`", prose(document)))
    named |= set(re.findall(r"--net[ =]([a-z0-9-]+)", document.read_text("utf-8")))
    assert named <= set(NETS) or document.name in HISTORY


@each_document
def test_error_codes_named_exist(document: Path) -> None:
    assert set(re.findall(r"\b([UDMRNBS]0\d\d)\b", document.read_text("utf-8"))) <= set(CODES)


def test_figures_of_exactness_are_of_tests_that_exist() -> None:
    text = (ROOT / "docs" / "exactness.md").read_text("utf-8")
    repeats = re.findall(r"`pytest (\S+?)(?: -k (\w+))?(?: -m slow -s)?`", text)
    assert len(repeats) == text.count("`pytest ")
    for path, words in repeats:
        test = (ROOT / path).read_text("utf-8")
        assert re.search(rf"^def test_\w*{words}", test, re.MULTILINE), f"{path} -k {words}"


def test_every_exit_code_is_documented() -> None:
    found = table(ROOT / "docs" / "errors.md", "exit code").column(0)
    documented = {int(code) for cell in found for code in cell.split(",")}
    assert documented == {0, 1, 7, 130, 143} | {
        kind.exit_code for kind in subclasses(PixelwiseError)
    }


def subclasses(kind: type[PixelwiseError]) -> set[type[PixelwiseError]]:
    return {kind}.union(*(subclasses(sub) for sub in kind.__subclasses__()))


def test_source_tree_shows_every_part() -> None:
    parts = {p for floor in FLOORS for p in floor if not p.startswith("__")}
    for document in (ENGLISH, CHINESE):
        (tree,) = blocks(document, "text")
        assert set(re.findall(r"^  (\w+)(?:/|\.py) ", tree, re.MULTILINE)) == parts


def test_floors_in_the_guide_are_the_floors() -> None:
    told = table(ROOT / "CONTRIBUTING.md", "floor").rows
    inner = [set(floor) - {"__init__"} for floor in FLOORS if floor != {"__main__"}]
    assert [(int(n), set(names.split(", "))) for n, names in told] == list(enumerate(inner))


def test_chinese_readme_has_the_same_build() -> None:
    assert headings(CHINESE) == headings(ENGLISH)
    assert links(CHINESE) == [t.replace(CHINESE.name, ENGLISH.name) for t in links(ENGLISH)]
    for language in ("sh", "python"):
        assert blocks(CHINESE, language) == blocks(ENGLISH, language)
    ours, theirs = tables(ENGLISH), tables(CHINESE)
    assert [len(t.rows) for t in ours] == [len(t.rows) for t in theirs]
    for a, b in zip(ours, theirs, strict=True):
        for left, right in zip(a.rows, b.rows, strict=True):
            assert sorted(numbers(" ".join(left))) == sorted(numbers(" ".join(right))), left


def test_decisions_have_their_parts() -> None:
    files = sorted((ROOT / "docs" / "adr").glob("0*.md"))
    assert [int(p.name[:4]) for p in files] == list(range(1, len(files) + 1))
    for path in files:
        text = path.read_text("utf-8")
        assert text.startswith(f"# {path.name[:4]} ")
        assert re.search(r"^Date: \d{4}-\d\d-\d\d\. Status: ", text, re.MULTILINE)
        sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert sections[:3] == ["Decision", "Options", "Consequences"]
    listed = table(ROOT / "docs" / "adr" / "README.md", "number").column(0)
    assert [re.search(r"\((.*)\)", cell)[1] for cell in listed] == [p.name for p in files]


def test_citation_and_changes_name_this_version() -> None:
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert told["version"] == pixelwise.__version__
    assert {"cff-version", "message", "title", "authors", "license"} <= set(told)
    (paper,) = told["references"]
    assert [a["family-names"] for a in paper["authors"]] == ["Long", "Shelhamer", "Darrell"]
    assert f"## {pixelwise.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_calls_with_unknown_options_or_nets_are_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        check_call(["train", "D", "-o", "R", "--nett", "x"])
    with pytest.raises(AssertionError, match="no net"):
        check_call(["train", "D", "-o", "R", "--net", "fcn9s-vgg16"])
    with pytest.raises(AssertionError, match="has no command"):
        check_call(["weights", "improt", "F"])
    with pytest.raises(ValueError, match="no recipe setting"):
        check_call(["train", "D", "-o", "R", "--set", "lr=1"])
