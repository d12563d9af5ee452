"""Finding pictures and their partners in folders and list files; every problem is collected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from pixelwise.data import splits
from pixelwise.data.class_files import described
from pixelwise.data.classes import ClassMap
from pixelwise.data.dataset import DataSet, no_partner
from pixelwise.data.grouping import grouped
from pixelwise.data.sample import IMAGE, LABELS, Item, LabelMap, Splits
from pixelwise.errors import DataError, first_few, raise_all
from pixelwise.machine.files import atomic_write
from pixelwise.pictures.recognise import SUFFIXES, chosen, is_picture, unread_kind

LABEL_ENDS = (
    *("_mask", "_masks", "_label", "_labels", "_seg", "_gt", "-mask", "-label", ".mask"),
    *("_L", "_segmentation", "_labelIds", "_manual1"),
)
"""Endings that tools give to label maps; known where every label map has the same."""
IMAGE_ENDS = ("", "_image", "_img", "_input", "_sat")
"""What a picture may have where a label map beside it has one of these (DeepGlobe: ``_sat``)."""


@dataclass
class Listing:
    """A data folder while it is opened: what a layout found in it, and all that is wrong with it.

    Nothing is raised here. What is wrong with a list concerns the users of its split; all else
    concerns everyone.
    """

    root: Path
    input: str = IMAGE
    head: str = LABELS
    """What its pictures and its label maps are called, or the first of several."""
    problems: list[DataError] = field(default_factory=list)
    list_problems: dict[str, list[DataError]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    drawn: bool = False
    lists: Path | None = None
    """The folder of its lists, there or not; None: something else says what the splits are."""
    stated: ClassMap | None = None
    """What was said of the classes when the folder was given; no file of it says otherwise."""
    _named: dict[str, Path] = field(default_factory=dict)
    """What ``name_of`` has given."""
    bare: dict[Path, DataError] = field(default_factory=dict)
    """Pictures without a label map; a problem unless a list names them, and with it their use."""

    @cached_property
    def described(self) -> ClassMap | None:
        """What was said of the classes, or is in the folder's own files; None without either.

        Raises:
            DataError: D034 a malformed file.
        """
        return self.stated or described(self.root)

    def name_of(self, image: Path) -> str:
        """The stem of a picture that a file names, behind its folders where another has it."""
        name = image.stem
        for folder_name in reversed(image.parts[:-1]):
            if self._named.setdefault(name, image) == image:
                break
            name = f"{folder_name}_{name}"
        return name

    def pairs(self, images: Path, *labels: Path, strays: bool = False) -> dict[str, Item]:
        """The pictures of a folder by stem, each with its label map where there is one.

        Args:
            images: folder of pictures.
            labels: folders of label maps, the first that has one counts; just ``images`` itself,
                if label maps lie beside their pictures and are known by their endings.
            strays: what has no partner is no problem, else a D031 each.
        """
        if labels == (images,):
            together = by_stem(pictures(images), self.problems)
            masks = marked(together.keys())
            left = {stem: path for stem, path in together.items() if stem not in masks}
            right = self._by_picture(together, masks)
            other, end = "", end_of(min(masks, default=""))
        else:
            left, right = by_stem(pictures(images), self.problems), {}
            for folder in reversed(labels):
                right |= by_stem(pictures(folder), self.problems)
            other, end = ends_of(left.keys(), right.keys())
            right = {stem.removesuffix(end) + other: path for stem, path in right.items()}
            note = f"label maps are called as their pictures with `{end}` for `{other}` at the end"
            if other + end and end not in LABEL_ENDS and note not in self.notes:
                self.notes.append(note)
        kinds = Counter(p.suffix or p.name for p in _shown(labels[0]) if not right and p.is_file())
        if left and kinds and not strays:
            held = first_few([f"{n:,} {kind}" for kind, n in kinds.most_common()])
            what = f"{labels[0]} holds no label map ({held}), expected one for each picture"
            hint = "label maps are pictures of numbers or colours, as PNG"
            self.problems.append(DataError("D031", what, hint))
        elif not strays:
            for stem in left.keys() - right.keys():
                wanted = f"label map {labels[0] / stem.removesuffix(other)}{end}.png"
                self.bare[left[stem]] = no_partner(left[stem], wanted)
            loose = sorted(right.keys() - left.keys())
            self.problems += [no_partner(right[s], f"picture {images / s}.*") for s in loose]
        own = {stem: {self.head: LabelMap(path)} for stem, path in right.items()}
        return {s: Item(s, {self.input: left[s]}, own.get(s, {})) for s in sorted(left)}

    def _by_picture(self, together: Mapping[str, Path], masks: Set[str]) -> dict[str, Path]:
        """Stem of a picture to its label map; of several none is the right one."""
        right: dict[str, Path] = {}
        for mask in sorted(masks):
            stem = _picture_of(mask, together.keys())
            if stem in right:
                both = f"{right[stem]} and {together[mask]}"
                what = f"{both} are both label maps of {together[stem].name}"
                self.problems.append(DataError("D030", what, "move one of them away"))
            right[stem] = together[mask]
        return right

    def splits(self, lists: Path, items: Mapping[str, Item]) -> Splits:
        """Splits by the lists in a folder; without lists train and val are drawn."""
        self.lists, files = lists, lists_in(lists)
        if files:
            return {path.stem: self.split(path, items) for path in files}
        self.drawn = True
        labelled = [item for item in items.values() if item.labels]
        drawn, groups = splits.drawn(labelled), grouped(labelled).evidence
        note = "train and val were drawn, by the names alone"
        if groups:
            note = f"train and val were drawn, of whole groups ({groups})"
        alone = "and one picture alone: there is no val"
        if labelled:
            note = f": {note}" if "val" in drawn else f", {alone}"
            self.notes.append(f"no lists of splits{note}")
        return drawn

    def parts(self, named: Sequence[tuple[str, Mapping[str, Item]]]) -> Splits:
        """Files or folders as splits where each is named after another one, else as any folder's.

        Args:
            named: of each the name that it has as a split, or none, and its items.
        """
        names = [split for split, _ in named]
        if all(names) and len({*names}) == len(names):
            return {split: tuple(items.values()) for split, items in named}
        items = {name: item for _, part in named for name, item in part.items()}
        return self.splits(self.root / "splits", items)

    def split(self, path: Path, items: Mapping[str, Item]) -> tuple[Item, ...]:
        """The items that a list names; unknown and repeated names are problems of the list.

        A line is a name, or a name and where the picture's label map is, counted from the root.
        """
        problems: list[DataError] = []
        listed: dict[str, Item] = {}
        for line in read_list(path, problems):
            name, column = _columns(line, items)
            if name in listed:
                what = f"{path}: `{name}` is listed twice"
                problems.append(DataError("D034", what, "remove one of the lines"))
            elif name in items:
                self.bare.pop(items[name].image, None)
                listed[name] = self._labelled(items[name], column, path, problems)
            else:
                what = f"{path}: `{name}` is no picture of the data set"
                problems.append(DataError("D031", what, "remove the line, or add the files"))
        if problems:
            self.list_problems[path.stem] = problems
        return tuple(listed.values())

    def _labelled(self, item: Item, column: str, path: Path, problems: list[DataError]) -> Item:
        """The item with the label map of a list's second column, which is counted from the root."""
        own = item.labels.get(self.head)
        parts = [part for part in Path(column).parts if part != "/"]
        # Published lists begin their paths anywhere: /SegNet/CamVid/trainannot/a.png
        places = (self.root.joinpath(*parts[i:]) for i in range(len(parts)))
        labels = next((place for place in places if place.is_file()), None)
        if labels and not (own and labels in own.files):
            return replace(item, labels={**item.labels, self.head: LabelMap(labels)})
        if own and column and not labels and own.files[0].stem != Path(column).stem:
            what = f"{path}: there is no label map {column}"
            problems.append(DataError("D031", what, "correct the line, or add the file"))
        return item

    @property
    def all_problems(self) -> tuple[DataError, ...]:
        """Those that concern everyone."""
        return (*self.problems, *self.bare.values())

    def dataset(self, layout: str, evidence: str, classes: ClassMap, splits: Splits) -> DataSet:
        """The data set of this input and this head, with all that was collected."""
        return DataSet(
            self.root,
            layout,
            evidence,
            {self.head: classes},
            splits,
            tuple(self.notes),
            self.drawn,
            self.all_problems,
            self.list_problems,
            (self.input,),
            (self.head,),
            lists=self.lists,
        )


def pictures(folder: Path) -> list[Path]:
    """Pictures of a folder (not of its subfolders), not hidden, by name.

    One of a format that is not read (HEIC) counts too, unless it is there in another: whoever
    reads it tells.
    """
    visible = _shown(folder)
    read = chosen([p for p in visible if is_picture(p)])
    stems = {p.stem for p in read}
    return sorted(read + [p for p in visible if p.stem not in stems and unread_kind(p)])


def _shown(folder: Path) -> list[Path]:
    """What lies in a folder and is not hidden; nothing without the folder."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return [p for p in inside if not p.name.startswith(".")]


def by_stem(paths: Iterable[Path], problems: list[DataError]) -> dict[str, Path]:
    """Stem to file; files that share one (also but for case) are a problem, the last one stays."""
    files: dict[str, Path] = {}
    folded: dict[str, Path] = {}
    for path in paths:
        twin = folded.get(path.stem.lower())
        if twin is not None:
            what = f"{twin} and {path} share the stem `{path.stem}`"
            problems.append(DataError("D030", what, "rename or remove one of them"))
            files.pop(twin.stem, None)
        folded[path.stem.lower()] = files[path.stem] = path
    return files


def end_of(stem: str) -> str:
    """The ending that marks a label map, or nothing."""
    return next((end for end in LABEL_ENDS if stem.endswith(end)), "")


def marked(stems: Set[str]) -> set[str]:
    """Those of label maps that lie beside their pictures: ``a_mask`` where there is ``a``."""
    return {stem for stem in stems if _picture_of(stem, stems)}


def _picture_of(stem: str, stems: Container[str]) -> str:
    """The picture that a label map of this name lies beside; none, if it is no label map."""
    plain, end = stem.removesuffix(end_of(stem)), end_of(stem)
    named = (plain + other for other in IMAGE_ENDS if end)
    return next((name for name in named if name in stems), "")


def ends_of(left: Set[str], right: Set[str]) -> tuple[str, str]:
    """How all pictures and all label maps end where the rest of their names is the same.

    The ending of the label maps alone, as ``_mask``, under which most find a picture; else one of
    each side that begins with a mark (``21_training``, ``21_manual1``). An ending has a letter:
    numbers tell pictures apart. Nothing where some names are the same as they are.
    """
    if not left or not right or left & right:
        return "", ""
    shared = [[e for e in _shared_ends(side) if any(map(str.isalpha, e))] for side in (left, right)]
    marked_ends = [[e for e in side if e[0] in "_-. "] for side in shared]
    pairs = [("", end) for end in shared[1]]
    pairs += [(a, b) for a in marked_ends[0] for b in ("", *marked_ends[1])]

    def partners(pair: tuple[str, str]) -> int:
        stems = {stem.removesuffix(pair[0]) for stem in left}
        return len((stems - {""}) & {stem.removesuffix(pair[1]) for stem in right})

    best = max(pairs, key=partners, default=("", ""))
    if 2 * partners(best) >= min(len(left), len(right)):
        return best
    return "", next((end for end in LABEL_ENDS if all(s.endswith(end) for s in right)), "")


def _shared_ends(stems: Set[str]) -> list[str]:
    """The endings that all have, the longest first."""
    first = min(stems, key=len)
    ends = (first[i:] for i in range(len(first)))
    return [end for end in ends if all(stem.endswith(end) for stem in stems)]


def _columns(line: str, items: Container[str]) -> tuple[str, str]:
    """The name on a line, and its second column: empty, if there is none or the name has spaces."""
    whole = known_name(Path(line).name, items)
    words = line.split("\t") if "\t" in line else line.split()
    first = known_name(Path(words[0]).name, items)
    spaced = "/" not in line and whole in items
    return (first, words[1]) if len(words) == 2 and first in items and not spaced else (whole, "")


def read_list(path: Path, problems: list[DataError]) -> list[str]:
    """The lines of a list file that say something.

    One that cannot be read, and entries that lead out of the data set, are a D034 in ``problems``.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = f"{path}: not a readable list of names ({error})"
        problems.append(DataError("D034", what, "one name a line, as UTF-8 text"))
        return []
    entries = [line.strip() for line in lines if line.strip()]
    # A list from elsewhere must not make this program read what lies outside the folder.
    outside = [e for e in entries if ".." in Path(e).parts or _leads_out(e.split())]
    leaving = [f"{path}: `{entry}` leads out of the data set" for entry in outside]
    problems += [DataError("D034", what, "use plain names") for what in leaving]
    return [e for e in entries if e not in outside]


def _leads_out(words: Sequence[str]) -> bool:
    return any(".." in Path(word).parts for word in words if "/" in word)


def known_name(listed: str, known: Container[str]) -> str:
    """A listed name as items are called: itself, or else without its suffix."""
    path = Path(listed)
    cut = listed not in known and (path.suffix.lower() in SUFFIXES or path.stem in known)
    return path.stem if cut else listed


def lists_in(folder: Path) -> list[Path]:
    """The list files of a folder, not hidden, by name."""
    return sorted(p for p in folder.glob("*.txt") if not p.name.startswith("."))


def refuse_unlistable(folder: Path, lists: Mapping[str, Sequence[str]]) -> None:
    """Before anything is written: names that ``read_list`` would not give back.

    Raises:
        DataError: D034 all of them.
    """
    strange = [
        f"{folder / split}.txt: {name!a} cannot stand on a line of its own"
        for split, names in lists.items()
        for name in names
        if name.splitlines() != [name.strip()]
        or Path(name).name != name
        or name != name.encode("utf-8", "replace").decode()
    ]
    raise_all(folder, [DataError("D034", what, "rename it") for what in strange])


def write_splits(folder: Path, lists: Mapping[str, Sequence[str]]) -> None:
    """``<name>.txt`` for each split, one name a line.

    Raises:
        DataError: of ``refuse_unlistable``; nothing was written.
        ResourceError: R001, R002 a list cannot be written.
    """
    refuse_unlistable(folder, lists)
    for split, names in lists.items():
        atomic_write(folder / f"{split}.txt", "".join(f"{name}\n" for name in names))
