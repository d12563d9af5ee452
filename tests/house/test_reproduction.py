"""The page of re-measured claims, and its plots, are those of the stored results.

``python -m tests.house.test_reproduction`` writes both anew. Results come from a queue's folder:
``pixelwise reproduce -o OUT``, then its ``claims/*.json`` into ``results/claims/``.
"""

from __future__ import annotations

import json
import re

from tests.house.source import ROOT

from pixelwise.experiments.claim_pages import page, plots
from pixelwise.experiments.claims import Comparison, catalogue
from pixelwise.experiments.verdicts import of_all, verdict
from pixelwise.workflows.reproduce import read_results

PAGE, IMAGES = ROOT / "docs" / "reproduction.md", ROOT / "docs" / "images"
STORED = ROOT / "results" / "claims"
HEAD = "## Results\n\n"
COMPARED = ("first", "second", "measure", "expect")
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
CHINESE = {"holds": "成立", "does not hold here": "此处不成立", "undecided": "未定"}
FINDING = re.compile(r"^\| \[(\S+)\]\(docs/reproduction\.md#\1\) \| (.*) \| (.*) \| (.*) \|$", re.M)


def results() -> list[dict]:
    return read_results(STORED)


def test_the_page_is_made_of_the_results() -> None:
    head, _, made = PAGE.read_text("utf-8").partition(HEAD)
    assert made == page(results(), "images/")
    assert "pixelwise reproduce " in head


def test_the_plots_are_made_of_the_results() -> None:
    made = plots(results())
    assert {p.name: p.read_text("utf-8") for p in IMAGES.glob("claims*.svg")} == made


def test_stored_results_are_of_the_claims_as_they_are() -> None:
    for result in results():
        claim = catalogue().claims[result["claim"]]
        assert result["sentence"] == claim.sentence
        assert [{k: c[k] for k in COMPARED} for c in result["compared"]] == [
            {k: getattr(c, k) for k in COMPARED} for c in claim.compare
        ]
        assert {n: a["train"] for n, a in result["arms"].items()} == {
            n: dict(a.train) for n, a in claim.arms.items()
        }


def test_stored_verdicts_follow_from_their_intervals() -> None:
    for result in results():
        each = [
            verdict(c["low"], c["high"], Comparison(**{k: c[k] for k in COMPARED}))
            for c in result["compared"]
        ]
        assert each == [c["verdict"] for c in result["compared"]]
        assert result["verdict"] == of_all(each)
        refuted = result["verdict"] == "does not hold here"
        assert result["reason"] or not refuted, f"{result['claim']}: look for the reason once"


def differences(result: dict) -> str:
    """Points by which the first arm is better; of times by how much longer its step is."""
    unit = {"seconds": " %"}
    return ", ".join(
        f"{100 * c['value']:+.1f}{unit.get(c['measure'], '')}" for c in result["compared"]
    )


def test_both_readmes_open_with_what_was_found() -> None:
    english, chinese = ([*FINDING.findall(path.read_text("utf-8"))] for path in READMES)
    wanted = [(r["claim"], r["sentence"], r["verdict"], differences(r)) for r in results()]
    assert english == wanted
    told = [(claim, CHINESE[verdict], apart) for claim, _, verdict, apart in wanted]
    assert [(claim, verdict, apart) for claim, _, verdict, apart in chinese] == told
    assert all(re.search("[\u4e00-\u9fff]", sentence) for _, sentence, _, _ in chinese)


def test_every_stored_file_is_of_a_claim() -> None:
    names = {path.stem for path in STORED.glob("*")}
    assert names <= set(catalogue().claims)
    for path in STORED.glob("*.json"):
        assert json.loads(path.read_text("utf-8"))["claim"] == path.stem


def write() -> None:
    head = PAGE.read_text("utf-8").partition(HEAD)[0]
    PAGE.write_text(head + HEAD + page(results(), "images/"), "utf-8")
    for old in IMAGES.glob("claims*.svg"):
        old.unlink()
    for name, svg in plots(results()).items():
        (IMAGES / name).write_text(svg, "utf-8")
    of = {r["claim"]: r for r in results()}
    for path in READMES:
        zh = "zh" in path.name

        def row(old: re.Match[str], *, zh: bool = zh) -> str:
            r = of[old[1]]
            sentence = old[2] if zh else r["sentence"]
            verdict = CHINESE[r["verdict"]] if zh else r["verdict"]
            cells = f"[{old[1]}](docs/reproduction.md#{old[1]})", sentence, verdict, differences(r)
            return f"| {' | '.join(cells)} |"

        path.write_text(FINDING.sub(row, path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    write()
