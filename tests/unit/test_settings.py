"""Settings are read by types; all that is wrong is said at once, in the product's own words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal

import pytest

from pixelwise.errors import ModelError, PixelwiseError, UsageError
from pixelwise.settings import (
    Count,
    Exact,
    Number,
    Text,
    Whole,
    as_dict,
    in_one_word,
    known_names,
    limits,
    parse_json,
    read,
    refuse,
    schema,
    settings,
)


@settings("oven.", noun="dial", hint="turn it down")
class Oven:
    """Where it is baked."""

    heat: Annotated[Number, limits(gt=0, le=300)] = 180.0
    """Degrees."""
    fan: bool = False
    """Whether air moves."""
    racks: Annotated[tuple[Whole, Whole] | None, in_one_word] = None
    """Two heights."""


@settings(noun="dial", hint="turn it down")
class Cake:
    """What is baked."""

    name: Text = ""
    minutes: Count = 30
    size: Literal["small", "large", "huge"] = "small"
    parts: Mapping[str, Number] = field(default_factory=dict)
    oven: Oven = Oven()

    def __post_init__(self) -> None:
        refuse(
            self.size == "huge" and self.minutes < 60 and "size: huge needs minutes",
            self.size == "huge" and not self.name and "size: huge needs a name",
        )


@settings("label.", code="M002", hint="take another copy", others="ignore")
class Label:
    net: str
    step: Annotated[Exact, limits(ge=0)]
    order: Literal["up", "down"] | tuple[Exact, ...] = "up"


def refused(kind: type, data: object, error: type[PixelwiseError] = UsageError) -> str:
    with pytest.raises(error) as caught:
        read(kind, data, place="cake.yaml")
    text = str(caught.value)
    assert text.startswith("cake.yaml: ")
    return text.removeprefix("cake.yaml: ")


def test_plain_data_there_and_back() -> None:
    cake = Cake("plum", 40, parts={"flour": 0.5}, oven=Oven(200, racks=(1, 3)))
    assert as_dict(cake)["oven"] == {"heat": 200.0, "fan": False, "racks": [1, 3]}
    assert read(Cake, as_dict(cake)) == cake


def test_all_that_is_wrong_is_said_at_once() -> None:
    told = refused(Cake, {"minutes": -1, "oven": {"heat": "400", "fan": "maybe"}, "size": "tiny"})
    assert told == (
        "minutes is -1, expected at least 0; size is 'tiny', expected one of small, large, huge; "
        "oven.heat is 400, expected at most 300; oven.fan is 'maybe', expected true or false"
    )


def test_contradictions_are_said_beside_what_is_wrong_by_itself_unless_they_name_it() -> None:
    """Whether -1 minutes are too few cannot be said: the number is not the one that is meant."""
    told = refused(Cake, {"minutes": -1, "size": "huge"})
    assert told == "minutes is -1, expected at least 0; size: huge needs a name"
    both = "size: huge needs minutes; size: huge needs a name"
    assert refused(Cake, {"size": "huge"}) == both


def test_many_problems_are_counted() -> None:
    told = refused(Cake, {"parts": {f"p{i}": "x" for i in range(40)}})
    assert told.count("expected a number") == 12
    assert told.endswith("; and 28 more")


def test_unknown_names_are_told_with_similar_ones() -> None:
    with pytest.raises(UsageError, match=r"no dial is called `oven\.hat`.*`oven\.heat`") as caught:
        read(Cake, {"oven": {"hat": 3}})
    assert caught.value.code == "U001"
    assert caught.value.hint.startswith("known: minutes, name, oven.fan, oven.heat")
    assert list(known_names(Cake))[-3:] == ["oven.heat", "oven.fan", "oven.racks"]
    told = refused(Cake, {"nam": "x", "minutes": -1})
    assert "no dial is called `nam`; did you mean `name`?" in told
    assert "minutes is -1" in told


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([1], "all of it is [1], expected named entries"),
        ({"oven": 3}, "oven is 3, expected named entries"),
        ({"parts": [1]}, "parts is [1], expected a value for each name"),
        ({"parts": {"a": None}}, "parts.a is None, expected a number"),
        ({"parts": {3: 1}}, "parts has the key 3, expected text"),
        ({"minutes": 1.5}, "minutes is 1.5, expected a whole number"),
        ({"minutes": "1e999"}, "minutes is inf, expected a finite number"),
        ({"minutes": 1e30}, "minutes is 1e+30, expected a smaller number"),
        ({"minutes": True}, "minutes is True, expected a whole number"),
        ({"name": ["a"]}, "name is ['a'], expected text"),
        ({"name": "a\0b"}, r"name is 'a\x00b', expected text"),
        ({"oven": {"heat": float("nan")}}, "oven.heat is nan, expected a finite number"),
        ({"oven": {"racks": "3"}}, "oven.racks is 3, expected 2 numbers, as 320x400 or 0.5,2"),
        ({"oven": {"racks": "1x2x3"}}, "oven.racks is ['1', '2', '3'], expected at most 2 of them"),
        ({"oven": {"racks": "1xa"}}, "oven.racks[1] is 'a', expected a whole number"),
        ({"name": {"a": "b" * 100}}, "name is {'a': '" + "b" * 73 + "..., expected text"),
    ],
)
def test_each_kind_of_mistake_has_its_words(data: object, said: str) -> None:
    assert refused(Cake, data) == said


def test_numbers_may_come_as_text_and_pairs_in_one_word() -> None:
    cake = read(Cake, {"name": 2024, "minutes": "4e1", "oven": {"heat": "1.5e2", "racks": "1x2"}})
    assert (cake.name, cake.minutes, cake.oven.heat, cake.oven.racks) == ("2024", 40, 150.0, (1, 2))
    assert read(Cake, {"name": None, "oven": {"racks": "none"}}) == Cake()


def test_settings_made_in_python_are_checked_alike() -> None:
    with pytest.raises(UsageError, match=r"^oven\.heat is -1, expected more than 0") as caught:
        Oven(-1)
    assert (caught.value.code, caught.value.hint) == ("U002", "turn it down")
    with pytest.raises(UsageError, match=r"oven\.heat is 0"):
        Cake(oven={"heat": 0})
    with pytest.raises(UsageError, match="no dial is called `flavour`"):
        Cake(flavour="x")
    with pytest.raises(ValueError, match="longer"):
        Oven(180, False, None, 4)


def test_a_kind_has_its_own_code_and_may_pass_over_unknown_names() -> None:
    assert read(Label, {"net": "a", "step": 3, "later": 1}) == Label("a", 3)
    with pytest.raises(ModelError, match=r"^label\.step is missing") as caught:
        read(Label, {"net": "a"})
    assert (caught.value.code, caught.value.hint) == ("M002", "take another copy")


def test_each_of_several_types_is_told() -> None:
    told = refused(Label, {"net": "a", "step": 1, "order": [0, "b"]}, ModelError)
    assert told == (
        "label.order is [0, 'b'], expected one of up, down; "
        "label.order[1] is 'b', expected a whole number"
    )
    assert read(Label, {"net": "a", "step": 1, "order": [1, 0]}).order == (1, 0)


@pytest.mark.parametrize("value", [True, 1.0, "1", -1, None])
def test_exact_numbers_are_not_read_from_text(value: object) -> None:
    with pytest.raises(ModelError, match=r"label\.step is .*, expected"):
        read(Label, {"net": "a", "step": value})


def test_a_schema_has_ranges_defaults_and_the_docstrings() -> None:
    heat = schema(Cake)["$defs"]["Oven"]["properties"]["heat"]
    assert heat.pop("title")
    assert heat == {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 300,
        "default": 180.0,
        "description": "Degrees.",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"\xff", "not UTF-8 text (byte 0)"),
        (b'{"a": 1, "a": 2}', "`a` stands there twice"),
        (b"{", "not JSON (Expecting property name enclosed in double quotes, line 1 column 2)"),
        (b"[" * 100_000, "nested too deep"),
    ],
)
def test_json_that_cannot_be_meant(text: bytes, said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared below
        parse_json(text)
    assert str(caught.value) == said


def test_a_doubled_key_among_many_is_found_in_time() -> None:
    text = "{" + ",".join(f'"k{i}":0' for i in (*range(200_000), 199_999)) + "}"
    start = time.process_time()
    with pytest.raises(ValueError, match="`k199999` stands there twice"):
        parse_json(text)
    assert time.process_time() - start < 2
