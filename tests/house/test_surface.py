"""The public names and their signatures are those of ``tests/api_surface.json``.

After a wanted change: ``python -m tests.house.test_surface`` writes the file anew; its difference
belongs into the change log.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from typing import Any

from tests.house.source import ROOT

import pixelwise

FILE = ROOT / "tests" / "api_surface.json"


def described(thing: Any) -> Any:
    """A signature, a class's fields and public methods, or a constant's value."""
    if inspect.isclass(thing):
        members = {
            name: "property" if isinstance(member, property) else signature(member)
            for name, member in sorted(vars(thing).items())
            if not name.startswith("_")
            and (isinstance(member, property | staticmethod | classmethod) or callable(member))
        }
        fields = (
            [f"{f.name}: {f.type}" for f in dataclasses.fields(thing)]
            if dataclasses.is_dataclass(thing)
            else []
        )
        return {"class": [b.__name__ for b in thing.__bases__], "fields": fields, **members}
    return signature(thing) if callable(thing) else repr(thing)


def signature(thing: Any) -> str:
    function = thing.__func__ if isinstance(thing, staticmethod | classmethod) else thing
    return str(inspect.signature(function))


def surface() -> dict[str, Any]:
    return {name: described(getattr(pixelwise, name)) for name in sorted(pixelwise.__all__)}


def test_public_surface_is_the_recorded_one() -> None:
    assert surface() == json.loads(FILE.read_text("utf-8"))


def test_there_are_at_most_twelve_public_names() -> None:
    assert len([n for n in pixelwise.__all__ if not n.startswith("__")]) <= 12


def test_every_public_name_is_documented() -> None:
    bare = [n for n in pixelwise.__all__ if callable(v := getattr(pixelwise, n)) and not v.__doc__]
    assert not bare


def test_dir_names_what_can_be_had() -> None:
    assert set(dir(pixelwise)) == set(pixelwise.__all__)


if __name__ == "__main__":
    FILE.write_text(json.dumps(surface(), indent=1) + "\n", encoding="utf-8")
