"""What is built is what is installed: a wheel with every file that runs, in a fresh environment."""

from __future__ import annotations

import os
import re
import shutil
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


def test_the_source_holds_every_tracked_file_and_nothing_else(built: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as tar:
        names = {member.name.partition("/")[2] for member in tar if member.isfile()}
    assert names == {*run("git", "ls-files", cwd=ROOT).splitlines(), "PKG-INFO"}


def test_the_same_source_is_built_to_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """Wherever it lies, whoever may read it, and whenever it was checked out."""
    for name in run("git", "ls-files", cwd=ROOT).splitlines():
        target = tmp_path / "elsewhere" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)  # dated now
        target.chmod((ROOT / name).stat().st_mode & 0o700)
    run(sys.executable, "-m", "hatchling", "build", "-d", tmp_path, cwd=tmp_path / "elsewhere")
    assert {f.suffix for f in built.iterdir()} == {".whl", ".gz"}
    for file in built.iterdir():
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


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
