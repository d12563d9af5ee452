"""What a run folder holds, as far as it can be read: anyone may have written or changed it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from pixelwise import folders
from pixelwise.data.class_merging import merged
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.errors import ModelError, PixelwiseError, UsageError
from pixelwise.labels import colours_for

Event = dict[str, Any]
"""A line of the journal."""
LEADS = ("mean_iu", "explained", "f")
"""What says how good a head is: of classes, numbers, edges (``Measures.lead``)."""


@dataclass(frozen=True)
class Run:
    """What a run folder holds; a part that is missing is empty, and ``notes`` says so."""

    folder: Path
    recipe: dict[str, Any]
    events: list[Event]
    scores: dict[str, Any]
    environment: dict[str, Any]
    dataset: DataSet | None
    notes: list[str] = field(default_factory=list)
    """What the page lacks, and why; those who make its parts add to it."""
    stages: tuple[Path, ...] = ()
    """Of a run in stages: the folders of all; what stands here is of the last finished one."""
    head: str = ""
    """The one of several that is looked at, see ``heads``."""
    guesses: str = folders.GUESSES
    """Where its label maps are in the folder."""
    pictures: str = ""
    """Where its pictures are shown by the service, see ``by_picture``; else nowhere."""

    @property
    def heads(self) -> list[Run]:
        """The run as each of its heads sees it; of one head itself."""
        heads = self.scores.get("heads")
        known = heads.items() if isinstance(heads, dict) else ()
        scores = {head: own for head, own in known if isinstance(own, dict)}
        return [self._of(head, scores) for head in scores] or [self]

    def _of(self, head: str, all_heads: Mapping[str, Any]) -> Run:
        dataset = self.dataset
        if dataset and head in dataset.class_maps:
            dataset = dataset.using(heads=[head])
        return replace(
            self,
            scores=all_heads[head],
            events=[e | of_head(e, head) for e in self.events],
            dataset=dataset,
            head=head,
            guesses=folders.of_head(Path(folders.GUESSES), head, all_heads).as_posix(),
        )

    @property
    def classes(self) -> list[str]:
        """The names that were scored, else the data set's."""
        names = self.scores.get("classes")
        if isinstance(names, list) and names:
            return [str(name) for name in names]
        return list(self.dataset.classes) if self.dataset else []

    @property
    def colours(self) -> tuple[tuple[int, int, int], ...]:
        """One for each of ``classes``."""
        return colours_for(len(self.classes), self.dataset.palette if self.dataset else ())

    @property
    def split(self) -> str:
        """The one that was evaluated."""
        return str(self.scores.get("split") or self.recipe.get("val_split") or "val")


def of_head(event: Event, head: str) -> Event:
    """What an event tells of one head alone."""
    scores, losses = event.get("heads"), event.get("head_losses")
    own = scores.get(head) if isinstance(scores, dict) else None
    loss = {"loss": losses[head]} if isinstance(losses, dict) and head in losses else {}
    # What leads another head, which the event tells as well, is none of this one's.
    return {**dict.fromkeys(LEADS), **own, **loss} if isinstance(own, dict) else loss


def read_run(folder: Path, dataset: DataSet | None = None) -> Run:
    """Everything that ``build`` makes a page of, apart from the pictures; raises as it says."""
    if begun := folders.stages(folder):
        shown = [stage for stage in begun if folders.is_finished(stage)] or begun
        return replace(read_run(shown[-1], dataset), stages=tuple(begun))
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise ModelError("M001", f"{folder} {what}", "give a run folder")
    notes: list[str] = []
    lack = "recipe.yaml is missing: what was trained is not known"
    recipe = _fields(folder / folders.RECIPE, yaml.safe_load, lack, notes)
    try:
        events = folders.read_journal(folder / folders.JOURNAL)
    except OSError:
        events = []
        notes.append("journal.jsonl is missing: there are no learning curves")
    lack = "not evaluated yet: evaluation/scores.json is missing"
    scores = _fields(folder / folders.SCORES, json.loads, lack, notes)
    if not (recipe or events or scores):
        hint = "a run is made by `pixelwise train DATA -o RUN`"
        raise UsageError("U002", f"{folder} is no run: no recipe, journal or scores", hint)
    # The page is whole without the environment, so nothing is noted when that is missing.
    environment = _fields(folder / folders.ENVIRONMENT, json.loads, "", [])
    dataset = dataset or _dataset(recipe, notes)
    return Run(folder, recipe, events, scores, environment, dataset, notes)


def _fields(path: Path, parse: Callable[[str], Any], lack: str, notes: list[str]) -> dict[str, Any]:
    """The fields of a file; what is wrong with it becomes a note."""
    try:
        values = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        notes.append(lack)
        return {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        notes.append(f"{path.name} cannot be read: {str(error).splitlines()[0]}")
        return {}
    return values if isinstance(values, dict) else {}


def _dataset(recipe: dict[str, Any], notes: list[str]) -> DataSet | None:
    if not recipe.get("data"):
        return None
    names = {kind: recipe.get(kind) or () for kind in ("inputs", "heads")}
    try:
        values = str(recipe.get("values") or "")
        dataset = open_dataset(Path(str(recipe["data"])), values=values).using(**names)
        return merged(dataset, recipe.get("map") or {})
    except (PixelwiseError, OSError, ValueError, TypeError) as error:
        notes.append(f"no images: the data cannot be opened ({str(error)[:300]})")
        return None
