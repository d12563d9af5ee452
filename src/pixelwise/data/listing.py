"""Finding pictures and their partners in folders and list files; every problem is collected."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence, Set
from pathlib import Path

from pixelwise.data.sample import Item
from pixelwise.errors import DataError
from pixelwise.machine.files import atomic_write
from pixelwise.pictures.recognise import SUFFIXES, is_picture, unread_kind

LABEL_ENDS = ("_mask", "_masks", "_label", "_labels", "_seg", "_gt", "-mask", "-label", ".mask")
"""Endings that tools give to label maps; known where every label map has the same."""


def pictures(folder: Path) -> list[Path]:
    """Pictures of a folder (not of its subfolders), not hidden, by name.

    One of a format that is not read (HEIC) counts too, unless it is there in another: whoever
    reads it tells.
    """
    if not folder.is_dir():
        return []
    shown = [p for p in folder.iterdir() if not p.name.startswith(".")]
    found = [p for p in shown if is_picture(p)]
    stems = {p.stem for p in found}
    return sorted(found + [p for p in shown if p.stem not in stems and unread_kind(p)])


def by_stem(paths: Iterable[Path], problems: list[DataError]) -> dict[str, Path]:
    """Stem to file; files that share one (also but for case) are a problem, the last one stays."""
    found: dict[str, Path] = {}
    folded: dict[str, Path] = {}
    for path in paths:
        twin = folded.get(path.stem.lower())
        if twin is not None:
            problems.append(
                DataError(
                    "D030",
                    f"{twin} and {path} share the stem `{path.stem}`",
                    "rename or remove one of them",
                )
            )
            found.pop(twin.stem, None)
        folded[path.stem.lower()] = found[path.stem] = path
    return found


def partners(images: Path, labels: Path, problems: list[DataError]) -> list[Item]:
    """Items for the pictures of one folder that have a label map of the same stem in another.

    Args:
        images: folder of pictures.
        labels: folder of label maps; the same one, if these are known by their endings.
        problems: gets a D031 for each picture or label map without a partner, a D030 where one
            has several.
    """
    if images == labels:
        found = by_stem(pictures(images), problems)
        masks = marked(found.keys())
        left = {stem: path for stem, path in found.items() if stem not in masks}
        right = _by_picture(found, masks, problems)
        end = end_of(min(masks, default=""))
    else:
        left, right = by_stem(pictures(images), problems), by_stem(pictures(labels), problems)
        end = _common_end(left, right)
        right = {stem.removesuffix(end): path for stem, path in right.items()}
    bare, loose = left.keys() - right.keys(), right.keys() - left.keys()
    problems += [_alone(left[s], f"label map {labels / s}{end}.png") for s in bare]
    problems += [_alone(right[s], f"picture {images / s}.*") for s in loose]
    return [Item(s, left[s], right[s]) for s in sorted(left.keys() & right.keys())]


def _by_picture(
    found: Mapping[str, Path], masks: Set[str], problems: list[DataError]
) -> dict[str, Path]:
    """Stem of a picture to its label map; of several none is the right one."""
    right: dict[str, Path] = {}
    for mask in sorted(masks):
        stem = mask.removesuffix(end_of(mask))
        if stem in right:
            problems.append(
                DataError(
                    "D030",
                    f"{right[stem]} and {found[mask]} are both label maps of {found[stem].name}",
                    "move one of them away",
                )
            )
        right[stem] = found[mask]
    return right


def end_of(stem: str) -> str:
    """The ending that marks a label map, or nothing."""
    return next((end for end in LABEL_ENDS if stem.endswith(end)), "")


def marked(stems: Set[str]) -> set[str]:
    """Those of label maps that lie beside their pictures: ``a_mask`` where there is ``a``."""
    return {s for s in stems if end_of(s) and s.removesuffix(end_of(s)) in stems}


def _common_end(left: Mapping[str, Path], right: Mapping[str, Path]) -> str:
    """What all label stems have in addition, as in ``street1_mask.png``; empty if nothing."""
    for end in LABEL_ENDS:
        if right and all(s.endswith(end) for s in right) and not left.keys() & right.keys():
            return end
    return ""


def _alone(path: Path, wanted: str) -> DataError:
    return DataError(
        "D031", f"{path} has no partner, expected a {wanted}", "add it, or move it away"
    )


def read_list(path: Path, problems: list[DataError], *, column: int | None = None) -> list[str]:
    """The names in a list file, one a line, without folder; see ``known_name`` for suffixes.

    Args:
        path: the file.
        problems: gets a D034 if it cannot be read, and for entries that leave the data set.
        column: which of several words of a line; by default a line is one name.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(
            DataError(
                "D034",
                f"{path}: not a readable list of names ({error})",
                "one name a line, as UTF-8 text",
            )
        )
        return []
    entries = [line.strip() for line in lines if line.strip()]
    if column is not None:
        entries = [entry.split()[column] for entry in entries]
    outside = [e for e in entries if ".." in Path(e).parts]
    problems += [
        DataError("D034", f"{path}: `{entry}` leads out of the data set", "use plain names")
        for entry in outside
    ]
    return [Path(e).name for e in entries if e not in outside]


def known_name(listed: str, known: Container[str]) -> str:
    """A listed name as items are called: itself, or else without its suffix."""
    path = Path(listed)
    cut = listed not in known and (path.suffix.lower() in SUFFIXES or path.stem in known)
    return path.stem if cut else listed


def lists_in(folder: Path) -> list[Path]:
    """The list files of a folder, not hidden, by name."""
    return sorted(p for p in folder.glob("*.txt") if not p.name.startswith("."))


def refuse_unlistable(path: Path, names: Sequence[str]) -> None:
    """Before anything is written.

    Args:
        path: of the list.
        names: of its lines.

    Raises:
        DataError: D034 names that ``read_list`` would not give back, all of them.
    """
    problems = [
        DataError("D034", f"{path}: {name!a} cannot stand on a line of its own", "rename it")
        for name in names
        if name.splitlines() != [name.strip()]
        or Path(name).name != name
        or name != name.encode("utf-8", "replace").decode()
    ]
    raise_all(path, problems)


def write_list(path: Path, names: Sequence[str]) -> None:
    """A list file, one name a line.

    Raises:
        DataError: D034 names that ``read_list`` would not give back, all of them.
        ResourceError: R001, R002 it cannot be written.
    """
    refuse_unlistable(path, names)
    atomic_write(path, "".join(f"{name}\n" for name in names))


def listed_items(
    names: Sequence[str], items: Mapping[str, Item], source: Path, problems: list[DataError]
) -> tuple[Item, ...]:
    """The items a list names; unknown and repeated names are problems."""
    found: dict[str, Item] = {}
    for name in (known_name(listed, items) for listed in names):
        if name in found:
            problems.append(
                DataError("D034", f"{source}: `{name}` is listed twice", "remove one of the lines")
            )
        elif name in items:
            found[name] = items[name]
        else:
            problems.append(
                DataError(
                    "D031",
                    f"{source}: `{name}` has no picture with a label map",
                    "remove the line, or add the files",
                )
            )
    return tuple(found.values())


def raise_all(
    root: Path, problems: Sequence[DataError], *, summary: str = "", hint: str = ""
) -> None:
    """Nothing if there is no problem; one as it is; several as one D035 that holds them all."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise DataError(
            "D035",
            f"{summary or root}: {len(problems)} problems",
            hint,
            problems=sorted(problems, key=str),
        )


def without_empty(
    root: Path, splits: Mapping[str, Sequence[Item]], problems: list[DataError]
) -> dict[str, tuple[Item, ...]]:
    """The splits; an empty one is a problem."""
    for name, items in splits.items():
        if not items:
            problems.append(
                DataError("D032", f"{root}: split `{name}` is empty", "add pictures or remove it")
            )
    return {name: tuple(items) for name, items in splits.items()}
