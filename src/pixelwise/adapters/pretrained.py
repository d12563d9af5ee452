"""``save_pretrained`` and ``from_pretrained``: a model as a folder, as model hubs keep them.

The folder holds ``model.safetensors`` (a checkpoint as any other of ours), ``config.json`` (its
header, for those who look) and ``README.md`` (a model card). Nothing in it is executed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from pixelwise.errors import ModelError, ResourceError, UsageError
from pixelwise.machine.files import atomic_write, write_json
from pixelwise.predict.model import Model, load
from pixelwise.weights.checkpoint import read_header

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
NAMED = ("mean_iu", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iu")
UNTOLD = "Not said by whoever saved this model."
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def save_pretrained(model: Model, folder: Path | str, **told: Any) -> Path:
    """Write the folder; files of one that was there are replaced.

    Args:
        model: of a checkpoint.
        folder: that is to be made.
        told: of the card: ``license``, ``title``, ``description``, ``limits``.

    Raises:
        ModelError: M040 an ensemble or a net for another runtime.
        UsageError: U002 something else is told.
    """
    known = ("license", "title", "description", "limits")
    if strange := sorted(set(told) - set(known)):
        raise UsageError("U002", f"`{strange[0]}` is told of a model, known: {', '.join(known)}")
    folder = Path(folder)
    saved = read_header(model.save(folder / WEIGHTS))
    header = saved.as_dict()
    header["data"] = {k: v for k, v in header["data"].items() if k not in ("path", "trained_on")}
    write_json(folder / CONFIG, {"library_name": "pixelwise", **header})
    atomic_write(folder / CARD, card(replace(model, header=saved), told))
    return folder


def from_pretrained(
    source: Path | str, *, download: bool = False, revision: str | None = None, **options: Any
) -> Model:
    """A model of a folder that ``save_pretrained`` wrote, or of a repository of a hub.

    Args:
        source: a folder, or OWNER/NAME on huggingface.co.
        download: allow it to be fetched; without it nothing but folders is read.
        revision: of the repository.
        options: as of ``pixelwise.load``.

    Raises:
        ModelError: M001 no such folder, or it holds no model; and those of ``load``.
        ResourceError: R008 the package huggingface_hub is missing, R011 the download failed.
    """
    folder = Path(source)
    if not folder.is_dir():
        if not REPOSITORY.fullmatch(str(source)) or not download:
            hint = "download=True fetches OWNER/NAME" if not download else "a folder or OWNER/NAME"
            raise ModelError("M001", f"{source} is no folder", hint)
        folder = _fetched(str(source), revision)
    if not (folder / WEIGHTS).is_file():
        raise ModelError("M001", f"{folder} holds no {WEIGHTS}", "save_pretrained writes it")
    return load(folder / WEIGHTS, **options)


def _fetched(repository: str, revision: str | None) -> Path:
    try:
        hub = import_module("huggingface_hub")
    except ImportError as error:
        hint = "pip install huggingface_hub"
        raise ResourceError("R008", "the package huggingface_hub is not installed", hint) from error
    wanted = {"revision": revision, "allow_patterns": [WEIGHTS, CONFIG, CARD]}
    try:
        return Path(hub.snapshot_download(repository, **wanted))
    except Exception as error:
        what = f"{repository}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise ResourceError("R011", what, "check the name and the network") from error


def card(model: Model, told: Mapping[str, Any]) -> str:
    """The model card as text: what is known of it, and what is not."""
    header = model.header
    front = {
        "library_name": "pixelwise",
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", "fcn", header.net],
        **({"license": told["license"]} if "license" in told else {}),
    }
    scores = [f"| {n.replace('_', ' ')} | {header.scores[n]:.4f} |" for n in _known(header.scores)]
    split = header.scores.get("split", "val")
    terms = header.data.get("terms") or UNTOLD
    heads = [
        f"- **{head}**: {', '.join(_cell(name) for name in own.classes)}"
        for head, own in model.heads.items()
    ]
    inputs = f"{', '.join(model.inputs)}, {model.predictor.bands} bands together"
    parts = [
        f"# {_cell(told.get('title') or f'{header.net}, {len(model.classes)} classes')}",
        str(told.get("description") or f"`{header.net}` trained for {header.step:,} steps."),
        "## Use\n\n```python\nfrom pixelwise.adapters.pretrained import from_pretrained\n\n"
        'model = from_pretrained("FOLDER")\nmodel.predict("photo.jpg").overlay.save("overlay.png")'
        "\n```",
        f"It takes {inputs}, and gives:\n\n" + "\n".join(heads),
        f"## Scores\n\nOn the split `{split}` of its data, by the rules of the FCN paper:\n\n"
        + "\n".join(["| score | value |", "|---|--:|", *scores])
        if scores
        else f"## Scores\n\n{UNTOLD}",
        f"## Data\n\nTerms of the training data: {_cell(str(terms))}\n\n"
        f"Fingerprint: `{header.data.get('fingerprint', 'unknown')}`.",
        f"## Limits\n\n{told.get('limits') or UNTOLD}",
        f"Made by {header.made_by}; SHA-256 of header and weights `{header.sha256}`.",
    ]
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n" + "\n\n".join(parts) + "\n"


def _known(scores: Mapping[str, Any]) -> list[str]:
    return [name for name in NAMED if isinstance(scores.get(name), float)]


def _cell(text: str) -> str:
    """Names out of files as text of Markdown, never as its marks or as HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|!])", r"\\\1", " ".join(text.split()))
