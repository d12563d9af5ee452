"""The paper's recipes by name: one for each row, its figures from the ledger, and each starts.

Data is prepared by the recipe's own command, from miniatures in the form of the true archives, and
the ImageNet weights are narrow files under their published names.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.house.test_documents import check_call
from tests.unit.data.prepare import test_context, test_nyudv2, test_siftflow, test_voc

import published
from make_data import camvid_set
from pixelwise.cli.app import run as command
from pixelwise.data.prepare import nyudv2
from pixelwise.experiments import ledger
from pixelwise.experiments.recipes import Experiment, experiment, names
from pixelwise.folders import stages
from pixelwise.nets import catalog
from pixelwise.training.optim import effective_rate
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import flat, read_recipe
from pixelwise.weights import published as weights
from pixelwise.weights.exporting import export_weights
from random_weights import save_random

WIDTH = 1 / 16
ROWS = [name for name in names() if experiment(name).table]
# What the ledger has of other systems, of times and of label maps alone has no recipe.
OTHERS = {"r-cnn", "sds", "gupta", "liu", "pinheiro", "o2p", "cfm"}
OTHERS |= {f"{name}{n}" for name in ("tighe", "farabet") for n in ("", "-1", "-2")}
# One of each net, way to train and data set; the others are the same with other numbers.
EVERYDAY = (
    *("table1.alexnet", "table4.rgbd", "table5.fcn16s"),
    *("pami.optimization.online", "pami.masking.shape"),
)


def recipe(name: str) -> Recipe:
    return experiment(name).recipe


# -- the list -------------------------------------------------------------------------------------
def test_every_row_of_the_papers_nets_has_a_recipe() -> None:
    with_rows = {id: t for id, t in ledger.tables().items() if t.columns}
    rows = {f"{id}.{row}" for id, t in with_rows.items() for row in t.rows() if row not in OTHERS}
    left = {name for name in rows if name.startswith(("bounds.", "pami.times."))}
    assert set(ROWS) == rows - left


@pytest.mark.parametrize("name", ROWS)
def test_what_a_row_should_reach_stands_in_the_ledger(name: str) -> None:
    one = experiment(name)
    assert one.expected
    for column, number in one.expected.items():
        assert ledger.numbers()[f"{name}.{column}"] is number
        assert f"{ledger.words(column)} {number.text}" in one.sheet


def test_no_figure_is_typed_again_in_a_recipe() -> None:
    """Mean IU of a row in the file of rows, or in a recipe that it is made of."""
    folder = Path(ledger.__file__).parent
    paths = [folder / "rows.yaml", *(folder / "recipes").glob("*.yaml")]
    text = " ".join(p.read_text("utf-8") for p in paths)
    figures = {str(n.value) for name in ROWS for n in experiment(name).expected.values()}
    figures -= {"8", "16", "22", "32", "50"}  # times and counts of table 1
    words = set(text.replace(",", " ").split())
    assert not {f for f in figures if "." in f} & words


@pytest.mark.parametrize("name", names())
def test_what_is_printed_is_read_back_as_the_recipe(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("PIXELWISE_DATA", "PIXELWISE_TEST_DATA"):
        monkeypatch.setenv(variable, f"${variable}")
    assert command(["recipes", name]) == 0
    (tmp_path / "r.yaml").write_text(capsys.readouterr().out)
    assert flat(read_recipe(tmp_path / "r.yaml")) == flat(recipe(name))


def test_the_list_has_command_data_hours_figure_and_source(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(["recipes", "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert tuple(listed) == names()
    fcn8s = listed["table2.fcn8s"]
    assert fcn8s["data"] == "$PIXELWISE_DATA/sbd"
    assert fcn8s["expected"]["mean_iu"] == {"value": 62.7, "unit": "%"}
    assert fcn8s["source"] == "CVPR and v2, table 2"
    assert "pixelwise train table2.fcn8s.yaml -o runs/table2.fcn8s" in fcn8s["commands"]
    assert command(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(any(name in line for line in lines) for name in names())


def test_a_recipe_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["recipes", "table2.fcn8"]) == 2
    assert "did you mean `table2.fcn8s`" in capsys.readouterr().err


@pytest.mark.parametrize("name", names())
def test_the_commands_of_a_recipe_parse(name: str) -> None:
    for line in experiment(name).commands:
        check_call(shlex.split(line)[1:])


# -- numbers --------------------------------------------------------------------------------------
def test_table_1_is_trained_as_long_as_the_paper_prints() -> None:
    for trunk in ("alexnet", "vgg16", "googlenet"):
        assert recipe(f"table1.{trunk}").epochs == 175 == ledger.numbers()["text.epochs"].value


def test_light_rows_learn_at_the_rates_of_the_paper() -> None:
    rates = {"alexnet": 1e-3, "vgg16": 1e-4, "googlenet": 5e-5}
    for trunk, rate in rates.items():
        light = recipe(f"table1.{trunk}")
        assert (light.optim.lr, light.batch, light.loss.reduction) == (rate, 20, "mean")
    stages = recipe("table2.fcn8s").by_stage()
    assert [r.optim.lr for r in stages.values()] == [1e-4, 1e-6, 1e-8]
    assert [r.learned for r in stages.values()] == ["none", "inner", "inner"]


def test_the_three_ways_to_train_see_as_many_pictures() -> None:
    ways = {w: recipe(f"pami.optimization.{w}") for w in ("accumulated", "online", "heavy")}
    assert {r.iterations * r.batch * r.accumulate for r in ways.values()} == {100_000}
    assert [r.optim.momentum for r in ways.values()] == [0.9, 0.9, 0.99]
    differs = {k for k, v in flat(ways["online"]).items() if v != flat(ways["heavy"])[k]}
    assert differs == {"regime", "optim.momentum"}


def test_of_several_stages_one_is_a_recipe_by_itself() -> None:
    alone, staged = recipe("release.fcn32s"), recipe("release.fcn8s").by_stage()["fcn32s"]
    assert alone == staged
    assert list(recipe("release.fcn16s").stages) == ["fcn32s", "fcn16s"]


@pytest.mark.parametrize("name", ROWS)
def test_rates_fit_pictures_of_the_true_size(name: str) -> None:
    """Miniatures are so small that the finest heavy stage is refused on them."""
    whole, sizes = recipe(name), {"nyudv2": (425, 560), "siftflow": (256, 256)}
    height, width = sizes.get(whole.data.rpartition("/")[2], (375, 500))
    for stage in whole.by_stage().values() or [whole]:
        pictures = stage.batch * stage.passes
        assert effective_rate(stage, pictures * height * width) > 0


def test_hours_are_those_of_the_measured_step_for_as_much_work() -> None:
    """100,000 steps of 50.7 ms, less for pictures of 375x500 and without skips."""
    work = {n: sum(catalog.spec(n).macs(375, 500).values()) for n in ("voc-fcn32s", "fcn8s-vgg16")}
    measured = sum(catalog.spec("fcn8s-vgg16").macs(500, 500).values())
    expected = 100_000 * 0.0507 * work["voc-fcn32s"] / measured / 3600
    assert experiment("release.fcn32s").hours == pytest.approx(expected)
    assert experiment("camvid-googlenet").hours == pytest.approx(55 / 60)
    light = experiment("table2.fcn32s")
    assert light.hours == pytest.approx(48 * 8498 * 0.0287 / 100_000 / 0.0507 * expected, rel=1e-3)


# -- each starts ----------------------------------------------------------------------------------
SOURCES = {
    "sbd": test_voc.both,
    "voc2011": lambda folder: published.unpack(published.voc(2011, test_voc.SPLITS), folder),
    "nyudv2": lambda folder: published.unpack(test_nyudv2.released(), folder),
    "siftflow": lambda folder: published.unpack(test_siftflow.files(), folder),
    "context": test_context.archives,
    "context33": test_context.archives,
}
PUBLISHED = {
    "vgg16": "VGG_ILSVRC_16_layers",
    "alexnet": "bvlc_reference_caffenet",
    "googlenet": "bvlc_googlenet",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of data sets, each prepared by its recipe's command, and of narrow weights."""
    root = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("PIXELWISE_DATA", str(root / "data"))
        patch.setenv("PIXELWISE_HOME", str(root / "home"))
        patch.setattr(nyudv2, "RUNS", "t1 s1 v1")  # of the miniature's three frames
        patch.setattr(weights, "check", lambda *_: None)  # narrow files have other digests
        Path("33.txt").write_text("sky\nroad\naeroplane\n")
        for trunk, file in PUBLISHED.items():
            save_random(root / f"{trunk}.safetensors", trunk, width=WIDTH)
            export_weights(
                root / f"{trunk}.safetensors", root / "home/weights" / f"{file}.caffemodel"
            )
        yield root


def prepare(one: Experiment, home: Path) -> None:
    words = shlex.split(one.commands[0].replace("$PIXELWISE_DATA", str(home / "data")))
    out = Path(words[words.index("SRC") + 1])
    if not out.exists():
        words[words.index("SRC")] = str(SOURCES[out.name](home / "src" / out.name))
        assert command(words[1:]) == 0


def starting(name: str) -> object:
    return pytest.param(name, marks=[] if name in EVERYDAY else pytest.mark.slow)


@pytest.mark.parametrize("name", [starting(name) for name in [*ROWS, "nyudv2"]])
def test_each_starts_on_miniature_data(name: str, home: Path, tmp_path: Path) -> None:
    one = experiment(name)
    prepare(one, home)
    file, run = tmp_path / f"{name}.yaml", tmp_path / "run"
    file.write_text(one.sheet)
    short = ["--iterations", "2", "--threads", "1", "--set", f"width={WIDTH}"]
    short += ["--set", "force=true"]  # rates are those of larger pictures
    first = next(iter(one.recipe.by_stage().values()), one.recipe)
    for several in ("batch", "accumulate"):
        short += ["--set", f"{several}=2"] if getattr(first, several) > 1 else []
    assert command(["train", str(file), "-o", str(run), "--device", "cpu", *short]) == 0
    assert len(stages(run)) == len(one.recipe.stages)
    if one.judge.startswith("--"):  # what any recipe is judged by, training has just done
        words = shlex.split(one.commands[-1].replace("$PIXELWISE_DATA", str(home / "data")))
        assert command(["evaluate", str(run), *words[3:], "--threads", "1"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("trunk", ["googlenet", "efficientnetlite0"])
def test_the_recipes_for_camvid_start_too(
    trunk: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = experiment(f"camvid-{trunk}")
    camvid_set(tmp_path / "data/camvid")
    kept = tmp_path / "data/weights/bvlc_googlenet"
    kept.mkdir(parents=True)
    shutil.copy(
        home / "home/weights/bvlc_googlenet.caffemodel",
        kept / "bvlc_googlenet_noaux_v2.caffemodel",
    )
    monkeypatch.setenv("PIXELWISE_TEST_DATA", str(tmp_path / "data"))
    (tmp_path / "r.yaml").write_text(one.sheet)
    short = ["--iterations", "2", "--threads", "1", "--set", f"width={WIDTH}"]
    if trunk != "googlenet":  # its published file is as wide as its net
        short += ["--set", "weights="]
    arguments = ["train", str(tmp_path / "r.yaml"), "-o", str(tmp_path / "run"), *short]
    assert command(arguments) == 0
