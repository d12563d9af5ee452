"""The page of ``pixelwise serve`` in a browser: by keyboard, on a phone, by a screen reader."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.small_model import save_model

from pixelwise import load
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.predict.sight import measured_field
from pixelwise.serving.page import page as files

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")

CLASSES = ("wall", "<img src=x onerror=document.title='hacked'>", "floor")
PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("page")
    for name, seed in (("a", 0), ("b", 1)):
        save_model(made / f"{name}.safetensors", seed=seed, classes=CLASSES)
    Image.fromarray(PHOTO).save(made / "photo.png")
    for name, rate in (("first", 0.1), ("<b>second", 0.2)):
        (made / name).mkdir()
        (made / name / "recipe.yaml").write_text(
            f"net: fcn8s-tiny\ndata: x\noptim: {{lr: {rate}}}\n"
        )
        step = {"event": "step", "step": 3, "loss": rate, "seconds": 1.0}
        (made / name / "journal.jsonl").write_text(json.dumps(step) + "\n")
    (made / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return made


@contextmanager
def served(*arguments: object) -> Iterator[str]:
    """The address of a service, which ends with the block whatever happens in it."""
    words = (*map(str, arguments), "--port", "0", "--threads", "1")
    command = (sys.executable, "-m", "pixelwise", "serve", *words)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield process.stderr.readline().split(" on ")[1].strip()
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    models = [folder / f"{name}.safetensors" for name in "ab"]
    kept = ("--corrections", folder / "kept")
    with served(*models, "--runs", folder, *kept) as address:
        yield address


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[str]:
    """The address of a service that wants a token."""
    (folder / "token").write_text("se cret\nanother line\n")
    secret = ("--token-file", folder / "token")
    with served(folder / "a.safetensors", "--runs", folder, *secret) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as p:
        camera = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: Any, address: str) -> Iterator[Any]:
    """The page, which must write nothing to the console: errors, breaches of its policy."""
    context = browser.new_context(viewport={"width": 1200, "height": 800}, locale="en")
    tab, said = context.new_page(), list[str]()
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(address)
    tab.locator("#models input").first.wait_for()
    yield tab
    context.close()
    assert said == []


def labelled(tab: Any, folder: Path, panels: int = 1) -> None:
    tab.set_input_files("#file", str(folder / "photo.png"))
    tab.locator("#panels figure").nth(panels - 1).wait_for()
    tab.locator("#status", has_text="%").wait_for()


def focus_by_keys(tab: Any, wanted: str) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.locator(f"{wanted}:focus").count():
            return
    pytest.fail(f"{wanted} is not reached by the keyboard")


def test_a_picture_is_corrected_and_saved_by_the_keyboard_alone(tab: Any, folder: Path) -> None:
    tab.keyboard.press("Tab")
    assert tab.locator(".skip:focus").count() == 1
    focus_by_keys(tab, "#file")
    labelled(tab, folder)
    focus_by_keys(tab, "#brush")
    tab.keyboard.press("Space")
    focus_by_keys(tab, "#brush-class")
    tab.keyboard.type("f")  # floor
    focus_by_keys(tab, "#panels canvas")
    for _ in range(2):
        tab.keyboard.press("Shift+ArrowLeft")
    tab.keyboard.press("Space")
    tab.keyboard.press("Shift+ArrowLeft")
    assert "27, 20: floor (corrected)" in tab.inner_text("#point")
    assert tab.inner_text("#spoken") == tab.inner_text("#point")
    tab.locator("#save-labels").focus()
    with tab.expect_download() as download:
        tab.keyboard.press("Enter")
    image = Image.open(download.value.path())
    rows, columns = np.indices((40, 60))
    disc = (rows - 20) ** 2 + (columns - 28) ** 2 <= 8**2
    expected = load(folder / "a.safetensors").predict(PHOTO).labels.copy()
    expected[disc] = 2
    assert (image.mode, download.value.suggested_filename) == ("P", "photo.png")
    assert (np.asarray(image) == expected).all()
    tab.locator("#undo").focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#undo").is_disabled()


def test_what_is_corrected_is_kept_on_the_server_as_a_data_set(tab: Any, folder: Path) -> None:
    labelled(tab, folder)
    tab.check("#brush")
    tab.select_option("#brush-class", "floor")
    tab.locator("#panels canvas[tabindex]").focus()
    tab.keyboard.press("Space")
    tab.click("#keep")
    tab.locator("#status", has_text="Kept as 000001").wait_for()
    data = open_dataset(folder / "kept")
    (item,) = data.all_items()
    sample = data.read(item)
    assert data.classes == CLASSES
    assert (sample.image == PHOTO).all()
    expected = load(folder / "a.safetensors").predict(PHOTO).labels.copy()
    rows, columns = np.indices((40, 60))
    expected[(rows - 20) ** 2 + (columns - 30) ** 2 <= 8**2] = 2
    assert (sample.labels == expected).all()


def test_the_camera_takes_the_picture_and_is_switched_off(tab: Any) -> None:
    """Chromium's own false camera: a green picture with a clock in it."""
    tab.click("#camera")
    tab.click("#shoot")
    tab.locator("#status", has_text="%").wait_for()
    size = tab.evaluate("[...document.querySelectorAll('#panels canvas')].map(c => c.width)[0]")
    assert size == 640
    assert tab.evaluate("document.getElementById('video').srcObject") is None
    assert tab.locator("#camera-box").is_hidden()


def test_two_models_stand_side_by_side_with_areas_and_heat(tab: Any, folder: Path) -> None:
    labelled(tab, folder)
    tab.locator("#models input").nth(1).check()
    tab.locator("#panels figure").nth(1).wait_for()
    heads = tab.locator("#legend thead th").all_inner_texts()
    assert heads == ["show", "class", "a", "b"]
    first = load(folder / "a.safetensors").predict(PHOTO)
    share = f"{100 * first.areas()['wall']:.1f} %"
    assert share in tab.locator("#legend tbody tr", has_text="wall").inner_text()
    tab.select_option("#heat", "wall")
    heat = load(folder / "a.safetensors").predict(PHOTO, probabilities=True).heat("wall")
    tab.locator("#panels canvas[tabindex]").first.focus()
    tab.keyboard.press("Shift+ArrowLeft")
    at = f"wall, {round(100 * float(heat[20, 29]))} %"
    tab.keyboard.press("Shift+ArrowRight")  # the map may have come after the point moved
    tab.locator("#point", has_text="; wall").wait_for()
    tab.keyboard.press("Shift+ArrowLeft")
    assert at in tab.inner_text("#point").split(" · ")[0]


def test_markup_in_a_class_name_is_text(tab: Any, folder: Path) -> None:
    labelled(tab, folder)
    assert CLASSES[1] in tab.inner_text("#legend")
    assert tab.title() == "pixelwise: Label"
    assert tab.locator("img").count() == 0


def test_what_is_no_picture_is_said_in_an_alert(tab: Any, folder: Path) -> None:
    tab.set_input_files("#file", str(folder / "broken.png"))
    tab.locator("#alert", has_text="cannot show").wait_for()


def test_the_net_is_explained_on_the_picture(tab: Any, folder: Path) -> None:
    labelled(tab, folder)
    tab.click("nav a[data-view=net]")
    tab.locator("#streams figure").nth(4).wait_for()
    names = [text.split(":")[0] for text in tab.locator("#streams figcaption").all_inner_texts()]
    assert names == ["score_fr", "score_pool4", "fuse_pool4", "score_pool3", "fuse_pool3"]
    assert "220 pixels wide, a cell each 32" in tab.inner_text("#net-point")
    assert "alone would say another class" in tab.locator("#streams figcaption").nth(2).inner_text()
    crop = next(name for name in load(folder / "a.safetensors").predictor.net.crops())
    tab.select_option("#net-layer", crop)
    assert re.search(
        r"\([\d.−-]+ − [\d.−-]+\) / 16 = \d cells are cut off", tab.inner_text("#net-why")
    )
    tab.select_option("#net-layer", "score_fr")
    before = tab.locator("#net-panel").screenshot()
    tab.click("#net-measure")
    tab.locator("#net-measure:not([disabled])").wait_for()
    assert tab.locator("#net-panel").screenshot() != before
    half = re.search(r"within (\d+) pixels", tab.inner_text("#net-measured"))
    seen = measured_field(load(folder / "a.safetensors").predictor, PHOTO, "score_fr", (20, 30))
    far = np.hypot(*(np.indices(seen.shape) - np.array([20, 30])[:, None, None]))
    assert half
    assert seen[far <= int(half[1])].sum() == pytest.approx(seen.sum() / 2, rel=0.1)
    assert tab.locator("#alert").is_hidden()


def test_runs_are_listed_opened_and_compared(tab: Any) -> None:
    tab.click("nav a[data-view=runs]")
    tab.locator("#runs-table tbody tr").nth(1).wait_for()
    assert "<b>second (training)" in tab.inner_text("#runs-table")
    for place in range(2):
        tab.locator("#runs-table input").nth(place).check()
    with tab.context.expect_page() as opened:
        tab.click("#runs-open")
    opened.value.locator("#recipes").wait_for()
    assert re.search(r"optim\.lr\s+0\.2\s+0\.1", opened.value.inner_text("#recipes"))
    tab.click("#runs-table tbody a >> nth=1")
    tab.locator("h1", has_text="first").wait_for()


def give(tab: Any, token: str) -> None:
    tab.locator("#token-field:focus").wait_for()
    tab.keyboard.type(token)
    tab.keyboard.press("Enter")


def test_a_token_is_asked_for_once_and_opens_pages_of_runs_too(
    browser: Any, guarded: str, folder: Path
) -> None:
    context = browser.new_context(locale="en")
    tab = context.new_page()
    tab.goto(guarded)
    give(tab, "secret")
    tab.locator("#token-wrong", has_text="does not accept").wait_for()
    give(tab, "se cret")
    tab.locator("#models input").first.wait_for()
    labelled(tab, folder)
    tab.reload()
    tab.locator("#models input").first.wait_for()
    tab.click("nav a[data-view=runs]")
    tab.click("#runs-table tbody a >> nth=1")
    tab.locator("h1", has_text="first").wait_for()
    (cookie,) = context.cookies()
    assert (cookie["path"], cookie["httpOnly"], cookie["sameSite"]) == ("/v1/runs", True, "Strict")
    assert "cret" not in cookie["value"]
    context.clear_cookies()
    assert tab.reload().status == 401
    tab.goto(guarded)
    tab.click("#token-forget")
    tab.locator("#token-field:focus").wait_for()
    tab.keyboard.press("Escape")
    tab.locator("#alert", has_text="token").wait_for()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_a_phone_needs_no_scrolling_sideways(
    browser: Any, address: str, guarded: str, folder: Path, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # axe is put into the page by a script of the test, which the page's policy would refuse.
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, color_scheme=scheme, locale="zh", bypass_csp=True
    )
    tab = context.new_page()

    def looked_at() -> None:
        found = axe.run(tab).response["violations"]
        assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found] == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390

    tab.goto(guarded)
    give(tab, "wrong")
    tab.locator("#token-wrong").wait_for()
    looked_at()
    tab.goto(address)
    labelled(tab, folder)
    for view in ("label", "net", "runs"):
        tab.click(f"nav a[data-view={view}]")
        tab.locator(f"#{view}").wait_for()
        looked_at()
    assert tab.get_attribute("html", "lang") == "zh-CN"
    context.close()


def test_every_text_is_there_in_both_languages() -> None:
    words = files()["/page/words.js"][1].decode()
    english, chinese = (set(re.findall(r"(\w+): \"", part)) for part in words.split("zh: {", 1))
    used = set(re.findall(r'data-word="(\w+)"', files()["/"][1].decode()))
    for script in ("label", "net", "page", "runs", "service", "token"):
        used |= set(re.findall(r'word\("(\w+)"', files()[f"/page/{script}.js"][1].decode()))
    assert english - {"en"} == chinese
    assert used <= chinese


def test_the_page_holds_nothing_inline_or_from_elsewhere() -> None:
    for path, (kind, content) in files().items():
        text = content.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|\beval\(|document\.write", text), path
        if kind.startswith("text/html"):
            assert not re.search(r"<script(?![^>]*src=)|<style| style=|\son\w+=", text)
