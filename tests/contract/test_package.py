"""What is built is what is installed: a wheel with every file that runs, in a fresh environment."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from fnmatch import fnmatch
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.house.source import ROOT, commands

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


def test_the_container_is_made_of_what_is_locked_and_built() -> None:
    """No engine is at hand: its steps are read, and compared with the locks and the command."""
    steps = [
        (words[0], words[1])
        for line in (ROOT / "Containerfile").read_text("utf-8").splitlines()
        if line and not line.startswith("#") and (words := line.split(" ", 1))
    ]
    runs = [shlex.split(rest) for kind, rest in steps if kind == "RUN"]
    installed = [words for words in runs if "install" in words]
    assert [("--require-hashes" in words, "--no-deps" in words) for words in installed] == [
        (True, True),  # the lock
        (False, True),  # torch
        (False, True),  # the wheel
    ]
    copied = {w for kind, rest in steps if kind == "COPY" for w in rest.split()[:-1]}
    read = {words[i + 1] for words in installed for i, w in enumerate(words) if w == "-r"}
    assert read <= copied
    kept = (ROOT / ".containerignore").read_text("utf-8").splitlines()
    for name in copied - {"--from=build", "/opt/pixelwise"}:
        assert (ROOT / name).exists()
        assert any(fnmatch(f"!{name}", pattern) for pattern in kept), name
    last = dict(steps)
    assert last["USER"] == "pixelwise"
    assert steps.index(("USER", "pixelwise")) < [k for k, _ in steps].index("ENTRYPOINT")
    words = json.loads(last["CMD"])
    port = words[words.index("--port") + 1]
    assert port == last["EXPOSE"]
    assert f":{port}/healthz" in last["HEALTHCHECK"]
    assert "--insecure" not in words
    command = commands()[("serve",)]
    assert command.make_context("serve", words[1:]).params["token_file"] == Path("/token")
    assert json.loads(last["ENTRYPOINT"]) == ["pixelwise"]


def test_the_service_needs_nothing_beyond_its_lock() -> None:
    """The closure of its requirements, by what the installed packages ask for."""
    text = (ROOT / "requirements-serve.lock").read_text("utf-8")
    locked = {canonicalize_name(n) for n in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    todo = [(text, "") for text in project["dependencies"]]
    todo += [(text, "") for text in project["optional-dependencies"]["serve"]]
    needed: set[str] = set()
    while todo:
        text, extra = todo.pop()
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        if (name := canonicalize_name(wanted.name)) not in needed:
            needed.add(name)
            asked = requires(name) or []
            todo += [(text, extra) for text in asked for extra in ("", *wanted.extras)]
    assert needed - {"torch"} <= locked
