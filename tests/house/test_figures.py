"""Figures and names in the documents are those of the code."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from tests.house.markdown import Table, table, tables
from tests.house.source import ROOT, commands

from pixelwise.metrics.protocols import PROTOCOLS
from pixelwise.nets.catalog import NETS, spec
from pixelwise.nets.released import RELEASED
from pixelwise.settings import schema
from pixelwise.training.recipe import Recipe
from pixelwise.workflows import demo

DOCS = ROOT / "docs"
GEOMETRY = DOCS / "geometry.md"


# -- nets -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_table_of_nets_is_true(readme: str) -> None:
    (found,) = [t for t in tables(ROOT / readme) if t.rows[0][0].startswith("`fcn")]
    for name, parameters, field, _ in found.rows:
        net = spec(name.strip("`"))
        assert int(parameters.replace(",", "")) == net.parameters(), name
        assert float(field) == net.receptive_field, name


def test_table_of_the_released_nets_is_true() -> None:
    found = table(DOCS / "nets.md", "net")
    names = found.column(0)
    assert [name.strip("`") for name in names] == list(RELEASED)
    for name, outputs, inputs, file in found.rows:
        net, known = spec(name.strip("`")), NETS[name.strip("`")]
        counts = {head: net.channels[layer] for head, layer in net.outputs.items()}
        for told, parts in ((outputs, counts), (inputs, net.inputs)):
            alone = ", ".join(str(n) for n in parts.values())
            assert told == (
                alone if len(parts) == 1 else ", ".join(f"{k} {n}" for k, n in parts.items())
            )
        assert (file.strip("`") if "." in file else "") == known.weights, name


def test_table_of_the_relatives_is_true() -> None:
    found = table(DOCS / "relatives.md", "relative")
    assert [name.strip("`") for name in found.column(0)] == [n for n in NETS if NETS[n].relative]
    for name, parameters, macs, stride, field in found.rows:
        net = spec(name.strip("`"))
        assert parameters == f"{net.parameters():,}", name
        assert macs == f"{sum(net.macs(500, 500).values()) / 1e9:.1f}", name
        assert (int(stride), float(field.replace("all", "inf"))) == (
            net.stride,
            net.receptive_field,
        ), name


def test_table_of_denser_outputs_is_true() -> None:
    rows = table(DOCS / "nets.md", "FCN-32s-VGG16 at 500x500").rows
    options = [
        {},
        {"rarefied": ["pool5"]},
        {"lowered": ["pool5"]},
        {"rarefied": ["pool4", "pool5"]},
    ]
    for row, option in zip(rows, options, strict=False):
        net = spec("fcn32s-vgg16", **option)
        assert (int(row[1]), int(row[2])) == (net.stride, net.receptive_field)
        assert row[3] == f"{net.parameters():,}"
        assert row[4] == f"{sum(net.macs(500, 500).values()) / 1e9:,.0f} G"
    # the picture with what it is moved by: 3 shifts of 8 px
    passes = 16 * sum(spec("fcn32s-vgg16").macs(524, 524).values())
    assert rows[4][4] == f"{passes / 1e9:,.0f} G"


def derived(found: Table) -> dict[str, tuple[Fraction, Fraction]]:
    """First layer named in a row to scale and shift, where the row has them."""
    rows = [row for row in found.rows if row[2]]
    return {row[0].partition(",")[0]: (Fraction(row[2]), Fraction(row[3])) for row in rows}


@pytest.mark.parametrize(("index", "net"), [(0, "fcn8s-vgg16"), (1, "fcn8s-alexnet")])
def test_derivations_are_what_the_code_computes(index: int, net: str) -> None:
    walks = [
        t for t in tables(GEOMETRY) if t.header == ("layer", "added to the shift", "scale", "shift")
    ]
    sights = spec(net).sights
    told = derived(walks[index])
    assert len(told) >= 5
    for layer, (scale, shift) in told.items():
        place = sights[layer if layer in sights else "score_fr"].map
        assert (place.scale, place.shift) == (scale, shift), layer


def test_offsets_in_the_text_are_the_crops() -> None:
    text = GEOMETRY.read_text("utf-8")
    told = {"fcn32s-vgg16": (19,), "fcn16s-vgg16": (5, 27), "fcn8s-vgg16": (5, 9, 31)}
    for net, offsets in (told | {"fcn32s-alexnet": (18,)}).items():
        assert tuple(spec(net).crops().values()) == offsets
        assert all(f"**{offset}**" in text for offset in offsets)
    assert tuple(spec("fcn8s-vgg16-tight").crops().values()) == (1, 1, 7)


def test_sizes_are_what_the_code_computes() -> None:
    found = table(GEOMETRY, "map")
    net = spec("fcn8s-vgg16")
    for row in found.rows:
        for picture, size in zip(found.header[1:], row[1:], strict=True):
            lengths = [net.sizes(int(n))[row[0]] for n in picture.split("x")]
            assert "x".join(map(str, lengths)) == size, row[0]


def test_fields_are_what_the_code_computes() -> None:
    sights = spec("fcn8s-vgg16").sights
    for layer, field, step in table(GEOMETRY, "VGG16").rows:
        assert (sights[layer].field, sights[layer].map.scale) == (int(field), int(step)), layer


def test_costs_of_the_geometries_are_true() -> None:
    for net, told in (("fcn8s-vgg16", 146.4), ("fcn8s-vgg16-tight", 82.7)):
        assert sum(spec(net).macs(375, 500).values()) / 1e9 == pytest.approx(told, abs=0.05)
        assert f"{told}" in GEOMETRY.read_text("utf-8")


# -- the demo -------------------------------------------------------------------------------------
def test_readme_says_what_the_demo_does() -> None:
    usual = {p.name: p.default for p in commands()["demo",].params}
    assert usual["images"] == 200
    assert (usual["steps"], usual["minutes"]) == (demo.STEPS, demo.MINUTES) == (1200, 10)
    english, chinese = ((ROOT / n).read_text("utf-8") for n in ("README.md", "README.zh-CN.md"))
    assert "draws 200 scenes" in english
    assert "1,200 steps" in english
    assert "ten minutes at most" in english
    assert "200 个场景" in chinese
    assert "1200 步" in chinese
    assert "最多十分钟" in chinese


# -- the recipe -----------------------------------------------------------------------------------
def settings(kind: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting with its default as the documents write it."""
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.default):
            yield from settings(type(field.default), f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, shown(field.default)


def shown(value: Any) -> str:
    if value is dataclasses.MISSING:
        return "{}"
    if value == ():
        return "(empty)"
    if isinstance(value, tuple):
        return ", ".join(f"{v:g}" for v in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return {"": "(empty)", None: "none"}.get(value, str(value))


def test_every_setting_is_documented_with_its_default() -> None:
    page = DOCS / "training.md"
    found = [row for t in tables(page) if t.header[0] == "setting" for row in t.rows]
    assert {name.strip("`"): default for name, default, _ in found} == dict(settings(Recipe))


def described(kind: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting with the sentence under its field, as the documents write it."""
    properties = schema(kind)["properties"]
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.default):
            yield from described(type(field.default), f"{prefix}{field.name}.")
        else:
            sentence = properties[field.name]["description"]
            yield prefix + field.name, " ".join(sentence.replace("``", "`").split())


def test_every_setting_is_documented_with_the_sentence_of_the_source() -> None:
    rows = [r for t in tables(DOCS / "training.md") if t.header[0] == "setting" for r in t.rows]
    assert {name.strip("`"): meaning for name, _, meaning in rows} == dict(described(Recipe))


# -- evaluation -----------------------------------------------------------------------------------
def test_every_protocol_is_documented_with_meaning_and_source() -> None:
    found = table(DOCS / "evaluation.md", "protocol").rows
    told = [(f"`{name}`", p.meaning, p.source) for name, p in PROTOCOLS.items()]
    assert list(found) == told


def test_readme_counts_the_protocols() -> None:
    words = {13: ("thirteen", "十三"), 14: ("fourteen", "十四"), 15: ("fifteen", "十五")}
    english, chinese = words[len(PROTOCOLS) - 1]
    assert f"{english} other rules" in (ROOT / "README.md").read_text("utf-8").lower()
    assert f"另外{chinese}种" in (ROOT / "README.zh-CN.md").read_text("utf-8")


# -- misunderstandings ----------------------------------------------------------------------------
def test_every_misunderstanding_is_explained_in_both_languages() -> None:
    (found,) = tables(Path(DOCS / "misunderstandings.md"))
    assert len(found.rows) == 18
    for said, english, chinese in found.rows:
        assert " / " in said
        assert english.isascii()
        assert any("一" <= c <= "鿿" for c in chinese)
