"""What `make docs` adds to the pages: files beside docs/, each command, each setting, the API."""

from __future__ import annotations

import inspect
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
# Files beside docs/ that are pages too.
BESIDE = {
    "README.md": "index.md",
    "README.zh-CN.md": "index.zh-CN.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
FETCHED = "https://unpkg.com/iframe-worker/shim"
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
# What the adapters and pages of docs/ show beyond the names of `import pixelwise`.
FURTHER = (
    "pixelwise.predict.model.Model",
    "pixelwise.predict.prediction.Prediction",
    "pixelwise.predict.ensembles.ensemble",
    "pixelwise.data.sample.Sample",
    "pixelwise.crf.dense.refine",
    "pixelwise.crf.parameters.DenseCrf",
    "pixelwise.crf.layer.MeanField",
    "pixelwise.adapters.estimator.FCNSegmenter",
    "pixelwise.adapters.pretrained.save_pretrained",
    "pixelwise.adapters.pretrained.from_pretrained",
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Folders in the navigation become their pages; pages that it does not name come last."""
    docs = Path(config.docs_dir)
    config.nav = [e for e in (_expanded(entry, docs) for entry in config.nav or []) if e]
    listed = set(_targets(config.nav))
    further = [p.name for p in sorted(docs.glob("*.md")) if p.name not in listed]
    config.nav += [{"More": [*further, *(n for n in BESIDE.values() if n not in listed)]}]
    return config


def _expanded(entry: Any, docs: Path) -> Any:
    """The entry without what is not there; ``why/`` is every page of that folder."""
    if isinstance(entry, dict):
        ((title, value),) = entry.items()
        if isinstance(value, list):
            inner = [e for e in (_expanded(v, docs) for v in value) if e]
            return {title: inner} if inner else None
        if value.endswith("/"):
            pages = sorted((docs / value).glob("*.md"), key=lambda p: (p.name != "README.md", p))
            names = [value + p.name for p in pages]
            chinese = [n for n in names if n.endswith(".zh-CN.md")]
            inner = [n for n in names if n not in chinese]
            return {title: [*inner, *([{"中文": chinese}] if chinese else [])]} if pages else None
    name = next(iter(entry.values())) if isinstance(entry, dict) else entry
    made = name.startswith("reference/") or name in BESIDE.values()
    return entry if made or (docs / name).exists() else None


def _targets(nav: Any) -> Iterator[str]:
    for entry in nav:
        values = entry.values() if isinstance(entry, dict) else [entry]
        for value in values:
            yield from _targets(value) if isinstance(value, list) else [value]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    pages = {new: (ROOT / old).read_text("utf-8") for old, new in BESIDE.items()}
    pages |= {
        "reference/commands.md": _commands(),
        "reference/recipe.md": _recipe(),
        "reference/python.md": _python(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are on the disk become those of the site; what it does not have is text."""
    source = next((o for o, n in BESIDE.items() if n == page.file.src_uri), "")
    place = source or f"docs/{page.file.src_uri}"

    def link(match: re.Match[str]) -> str:
        target, mark, anchor = match[2].partition("#")
        if "://" in match[2] or not target:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
        to = BESIDE.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else "")
        if path == "docs/adr":
            to = "adr/README.md"
        if not to or not files.get_file_from_path(to):
            return match[1]
        relative = posixpath.relpath(to, posixpath.dirname(page.file.src_uri) or ".")
        return f"[{match[1]}]({relative}{mark}{anchor})"

    parts = _FENCE.split(markdown)
    text = "".join(p if p.startswith("```") else _LINK.sub(link, p) for p in parts)
    return text.replace("](docs/images/", "](images/")


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """The theme fetches one script from the web, without which a site on a disk has no search."""
    place = posixpath.relpath("javascripts/iframe-worker.js", posixpath.dirname(page.url) or ".")
    return output.replace(FETCHED, place)


def on_post_template(output: str, template_name: str, config: MkDocsConfig) -> str:
    """The same of pages that are none of ours, as 404.html."""
    return output.replace(FETCHED, "/javascripts/iframe-worker.js")


def _commands() -> str:
    """Each command as its ``--help`` has it, as tables."""
    from pixelwise.cli.app import command as whole

    lines = ["# Commands", "", "What `pixelwise COMMAND --help` says.", ""]
    for words, command in _tree(whole()):
        lines += [f"## pixelwise {' '.join(words)}", "", *_explained(command)]
    return "\n".join(lines)


def _tree(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, sub in getattr(command, "commands", {}).items():
        if hasattr(sub, "commands"):
            yield from _tree(sub, (*words, name))
        else:
            yield (*words, name), sub


def _explained(command: Any) -> list[str]:
    lines = [inspect.cleandoc(command.help or "").replace("<", "&lt;"), ""]
    shown = [p for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
    if not shown:
        return lines
    lines += ["| | value | default | |", "|---|---|---|---|"]
    for param in shown:
        is_argument = param.param_type_name == "argument"
        names = (param.metavar or param.name.upper()) if is_argument else ", ".join(param.opts)
        value = "" if is_argument or param.is_flag else param.metavar
        if value is None:
            value = getattr(param.type_descriptor.annotation, "__name__", "")
        default = "" if param.default is False or param.default in (None, "", ()) else param.default
        default = "needed" if param.required else default
        cells = (f"`{names}`", value, str(default), getattr(param, "help", "") or "")
        lines.append("| " + " | ".join(_cell(c) for c in cells) + " |")
    return [*lines, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _recipe() -> str:
    """The settings of a recipe with their types and ranges."""
    from pixelwise.settings import schema
    from pixelwise.training.recipe import Recipe

    lines = ["# Settings of a recipe", "", "A field of `recipe.yaml`, of `--set` and of"]
    lines += ["`pixelwise.Recipe`. What they are for: [Training](../training.md#the-recipe).", ""]
    return "\n".join([*lines, *_settings(schema(Recipe))])


def _settings(told: dict[str, Any]) -> Iterator[str]:
    """A table of the recipe's own fields, and one for each part of it."""
    parts = {}
    yield from ("| setting | values | default | |", "|---|---|---|---|")
    for name, field in told["properties"].items():
        if "$ref" in field:
            parts[name] = told["$defs"][field["$ref"].rpartition("/")[2]]
        else:
            cells = (f"`{name}`", _range(field), f"`{json.dumps(field.get('default', ''))}`")
            cells += (field.get("description", "").replace("``", "`"),)
            yield "| " + " | ".join(_cell(c) for c in cells) + " |"
    for name, part in parts.items():
        yield from ("", f"## {name}", "", part.get("description", ""), "")
        yield from _settings({"$defs": {}, **part})


def _range(field: dict[str, Any]) -> str:
    """The values that a field takes."""
    if "anyOf" in field:
        return " or ".join(_range(kind) for kind in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "items" in field:
        return f"list of {_range(field['items'])}"
    if "prefixItems" in field:
        return " x ".join(_range(item) for item in field["prefixItems"])
    words = {"exclusiveMinimum": "above", "minimum": "from", "maximum": "to"}
    words["exclusiveMaximum"] = "below"
    limits = [f"{word} {field[key]}" for key, word in words.items() if key in field]
    return " ".join([field.get("type", "any"), *limits])


def _python() -> str:
    """The public names, from their docstrings."""
    import pixelwise

    homes = pixelwise._HOMES
    names = [f"{home}.{name}" for name, home in homes.items()]
    lines = [
        "# Python",
        "",
        "Names of `import pixelwise as pw` first, then those of its parts.",
        "",
    ]
    for name in (*names, *FURTHER):
        lines += [f"::: {name}", ""]
        if name.endswith(".Recipe"):  # its fields have a page of their own
            lines[-1:] = ["    options: {members: false}", ""]
    return "\n".join(lines)
