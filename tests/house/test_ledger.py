"""The ledger of published numbers: page and data agree, and what it names holds the numbers."""

from __future__ import annotations

import ast
import re
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tests.house.ledger_page import page
from tests.house.source import ROOT

from pixelwise.data.prepare import context, nyudv2, siftflow
from pixelwise.experiments import ledger
from pixelwise.experiments.claims import catalogue
from pixelwise.experiments.ledger import Number
from pixelwise.pictures.images import read_labels

NUMBERS = ledger.numbers()
SCALES = {"%": (1, Decimal("0.01")), "million": (10**6,)}
"""What a number of a test is, where the paper prints it in this unit."""


def of(status: str) -> list[Number]:
    return [n for n in NUMBERS.values() if n.status == status]


def value(id: str) -> float:
    return NUMBERS[id].value


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def literals(node: str) -> frozenset[Decimal]:
    """The numbers in a test, and in what it takes from its module."""
    path, _, name = node.partition("::")
    body = parsed(ROOT / path).body
    (test,) = [s for s in body if isinstance(s, ast.FunctionDef) and s.name == name]
    asked = {n.id for n in ast.walk(test) if isinstance(n, ast.Name)}
    values = [
        s for s in body if isinstance(s, ast.Assign) and asked & set(map(ast.unparse, s.targets))
    ]
    constants = [
        c.value for s in (test, *values) for c in ast.walk(s) if isinstance(c, ast.Constant)
    ]
    return frozenset(Decimal(repr(c)) for c in constants if type(c) in (int, float))


def holds(found: frozenset[Decimal], number: Number) -> bool:
    """Whether one of some numbers is the published one, or is rounded to it."""
    printed = Decimal(str(number.value))
    half = Decimal(1).scaleb(int(printed.as_tuple().exponent)) / 2
    scales = SCALES.get(number.unit, (1,))
    return any(abs(n / scale - printed) <= half for n in found for scale in scales)


def test_the_page_is_made_from_the_data() -> None:
    assert (ROOT / "docs/ledger.md").read_text("utf-8") == page()


def test_every_number_stands_once_and_says_where_it_is_printed() -> None:
    assert len(NUMBERS) == sum(len(t.numbers) for t in ledger.tables().values())
    for n in NUMBERS.values():
        assert re.fullmatch(r"[a-z0-9.-]+\.[a-z0-9_-]+", n.id), n.id
        assert n.printed.startswith(("CVPR", "v2", "README", "PAMI", "prototxts")), n.id


@pytest.mark.parametrize("number", of("derived"), ids=lambda n: n.id)
def test_the_test_that_is_named_holds_the_number(number: Number) -> None:
    assert holds(literals(number.evidence), number), sorted(literals(number.evidence))


@pytest.mark.parametrize("number", of("measured"), ids=lambda n: n.id)
def test_the_page_that_is_named_has_what_was_measured(number: Number) -> None:
    measured = re.match(r"[\d.,]*\d", number.evidence)[0]
    text = (ROOT / number.page).read_text("utf-8")
    assert re.search(rf"(?<![\d.,]){re.escape(measured)}(?![\d]|[.,]\d)", text), measured


def test_claims_named_are_measured() -> None:
    named = {n.claim for n in NUMBERS.values() if n.claim}
    assert {"skips", "layers", "depth", "masking"} < named <= set(catalogue().claims)


def test_a_number_that_no_test_holds_is_noticed() -> None:
    number = NUMBERS["table1.vgg16.parameters"]
    assert not holds(frozenset({Decimal(133_499_999)}), number)
    assert not holds(
        literals(
            "tests/house/test_ledger.py::test_ratios_of_the_paper_follow_from_its_own_numbers"
        ),
        number,
    )


def test_the_published_tables_are_whole() -> None:
    """All rows, those of other systems too (issue 16)."""
    rows = {id: set(t.rows()) for id, t in ledger.tables().items()}
    assert rows["table3"] == {"r-cnn", "sds", "fcn8s"}
    assert {"gupta"} < rows["table4"]
    assert {"liu", "tighe", "tighe-1", "farabet-1", "farabet-2", "pinheiro"} < rows["table5"]
    assert {"o2p", "cfm"} < rows["table6.59"]
    assert rows["table6.33"] == rows["table6.59"]


def test_ratios_of_the_paper_follow_from_its_own_numbers() -> None:
    """Gains are of mean IU over the system before, to the whole percent or the ten it is put at."""

    def gain(new: float, old: float) -> float:
        return 100 * (new / old - 1)

    in_2011 = gain(value("table3.fcn8s.mean_iu_2011"), value("table3.sds.mean_iu_2011"))
    in_2012 = gain(value("table3.fcn8s.mean_iu_2012"), value("table3.sds.mean_iu_2012"))
    assert in_2011 < 20 < in_2012
    assert (
        round(gain(value("pami.test.fcn8s.mean_iu_2012"), value("table3.sds.mean_iu_2012"))) == 30
    )
    assert value("table2.fcn32s.mean_iu") - value("table1.vgg16.mean_iu") == pytest.approx(3.4)
    assert value("table2.fcn16s.mean_iu") - value("table2.fcn32s.mean_iu") == pytest.approx(3.0)
    cfm = value("table6.59.cfm.mean_iu")
    assert round(gain(value("table6.59.fcn8s.mean_iu"), cfm)) == 11
    assert round(gain(value("text.context-camera-ready"), cfm)) == 20
    assert round(value("table3.sds.time") / value("table3.fcn8s.time")) == 286


def test_some_of_what_is_said_does_not_follow() -> None:
    """As the ledger notes: 76 % where the text has 70, and less than five points."""
    table2, release = (ledger.tables()[id].rows() for id in ("table2", "release"))
    fixed, tuned = (table2[row]["mean_iu"].value for row in ("fcn32s-fixed", "fcn32s"))
    assert round(100 * fixed / tuned) == 76
    heavy = ("fcn32s", "fcn16s", "fcn8s")
    gains = [release[r]["mean_iu"].value - table2[r]["mean_iu"].value for r in heavy]
    assert [round(g, 1) for g in gains] == [4.2, 2.6, 2.8]


def test_data_sets_are_as_large_as_the_paper_says() -> None:
    assert len(nyudv2.CLASSES.classes) == 40
    assert (len(siftflow.SEMANTIC), len(siftflow.GEOMETRIC)) == (33, 3)
    assert len(context.INDEX) == 59
    assert 2486 + 200 + len(siftflow.UNANNOTATED) == 2688


@pytest.mark.slow
def test_three_quarters_of_the_labelled_pixels_are_background(real_data: Path) -> None:
    """0.729 on the 736 label maps of seg11valid: the paper's 3/4 is 0.75 to one part in forty."""
    names = (real_data / "voc_samples/lists/fcn_pascal/seg11valid.txt").read_text().split()
    counts = np.zeros(256, np.int64)
    for name in names:
        labels = read_labels(real_data / f"voc_samples/SegmentationClass/{name}.png")
        counts += np.bincount(labels.ravel(), minlength=256)
    assert counts[0] / counts[:255].sum() == pytest.approx(0.75, abs=0.025)
