"""A part of the house knows only what stands below it; libraries stay at the rim."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.house.floors import FLOORS, RIM
from tests.house.source import PACKAGE, Import, imports, modules

LEVEL = {part: level for level, parts in enumerate(FLOORS) for part in parts}


def part(found: Import) -> str:
    first = found.file.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def known(module: str) -> str:
    """The part that an imported pixelwise module belongs to; the package's own names count too."""
    name = module.removeprefix("pixelwise").lstrip(".").partition(".")[0]
    return name if name in LEVEL else "__init__"


def own_imports() -> list[tuple[str, str, Import]]:
    found = [i for path in modules() for i in imports(path)]
    return [
        (part(i), known(i.module), i)
        for i in found
        if i.module.partition(".")[0] == "pixelwise" and part(i) != known(i.module)
    ]


def test_every_part_has_a_floor() -> None:
    parts = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in modules()}
    assert parts == set(LEVEL), "a new part needs a floor in tests/house/floors.py"
    assert sum(map(len, FLOORS)) == len(LEVEL), "a part stands on two floors"


def test_parts_import_only_from_lower_floors() -> None:
    broken = [
        f"{i.place}: {user} (floor {LEVEL[user]}) imports {used} (floor {LEVEL[used]})"
        for user, used, i in own_imports()
        if LEVEL[used] >= LEVEL[user]
    ]
    assert not broken, "\n".join(broken)


def test_libraries_stay_at_the_rim() -> None:
    broken = []
    for path in modules():
        for found in imports(path):
            library = found.module.partition(".")[0]
            if library in sys.stdlib_module_names or library == "pixelwise" or found.typing_only:
                continue
            where = path.relative_to(PACKAGE).as_posix()
            if not any(where.startswith(allowed) for allowed in RIM.get(library, ())):
                broken.append(f"{found.place}: {library}; allowed in {RIM.get(library, 'no file')}")
    assert not broken, "\n".join(broken)


def test_the_rim_names_no_library_in_vain() -> None:
    used = {i.module.partition(".")[0] for path in modules() for i in imports(path)}
    assert set(RIM) <= used


@pytest.mark.parametrize(
    ("source", "module", "typing_only"),
    [
        ("import a.b", "a.b", False),
        ("from pixelwise.pictures import images", "pixelwise.pictures", False),
        ("def f():\n    from a import b", "a", False),
        ("class C:\n    def f(self):\n        import a", "a", False),
        ("if TYPE_CHECKING:\n    from a import b", "a", True),
        ("try:\n    import a\nexcept ImportError:\n    pass", "a", False),
    ],
)
def test_imports_are_found_wherever_they_stand(
    tmp_path: Path, source: str, module: str, typing_only: bool
) -> None:
    path = tmp_path / "some.py"
    path.write_text(source)
    (found,) = imports(path)
    assert (found.module, found.typing_only) == (module, typing_only)
