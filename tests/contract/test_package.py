"""What is built is what is installed: a wheel with every file that runs, in a fresh environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.house.source import ROOT

pytest.importorskip("hatchling")
pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", out, cwd=ROOT)
    return out


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    tracked = run("git", "ls-files", "src/pixelwise", cwd=ROOT).splitlines()
    assert names == {name.removeprefix("src/") for name in tracked}
    assert any(name.endswith("page/page.js") for name in names)
    assert wheel.stat().st_size < 2e6


def test_the_source_holds_tests_and_documents(built: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    for name in ("README.md", "LICENSE", "requirements.lock", "tests/conftest.py", "docs/nets.md"):
        assert name in names


def test_the_wheel_runs_where_nothing_of_the_source_is(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env", cwd=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    place = Path(
        run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=tmp_path).strip()
    )
    # Its requirements are those of this environment; pixelwise comes from the wheel alone.
    others = place / "others"
    others.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not re.match(r"_?_?(editable|pixelwise)", entry.name):
            (others / entry.name).symlink_to(entry)
    (place / "others.pth").write_text(f"{others}\n")
    zipfile.ZipFile(wheel).extractall(place)
    told = run(python, "-m", "pixelwise", "nets", "fcn8s-tiny", cwd=tmp_path)
    assert "score_fr" in told
    where = "import pixelwise; print(pixelwise.__file__)"
    assert run(python, "-c", where, cwd=tmp_path).startswith(str(place))
    page = "from pixelwise.serving.page import page; assert len(page()) > 8"
    run(python, "-c", page, cwd=tmp_path)
    arguments = ("data", "make", "scenes", "scenes", "--count", "20", "--size", "32x40")
    run(python, "-m", "pixelwise", *arguments, cwd=tmp_path)
    train = ("train", "scenes", "-o", "run", "--net", "fcn8s-tiny", "--iterations", "2")
    run(python, "-m", "pixelwise", *train, "--set", "width=0.25", cwd=tmp_path)
    assert "pixelwise" in (tmp_path / "run" / "report.html").read_text()
