"""The command starts without torch or a warning; every command explains itself on one screen."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.source import ROOT, commands

HEAVY = ("torch", "numba", "lightning_fabric", "scipy", "PIL")
HELP_LINES, COLUMNS = 40, 80
HELP_SECONDS = 0.4
COMMANDS = commands()


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    plain = {"COLUMNS": str(COLUMNS), "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": paths}
    call = [sys.executable, *arguments]
    env = {**os.environ, **plain}
    return subprocess.run(
        call, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("module", ["pixelwise", "pixelwise.__main__"])
def test_importing_is_light_and_silent(module: str) -> None:
    code = f"import sys, {module}; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = python("-W", "error", "-c", code)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_the_lazy_names_import_without_a_warning() -> None:
    code = "import pixelwise\nfor name in pixelwise.__all__: getattr(pixelwise, name)"
    done = python("-W", "error", "-c", code)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_lists_every_command_of_the_registry(helps: dict[tuple[str, ...], str]) -> None:
    told = python("-W", "error", "-m", "pixelwise", "--help")
    assert (told.returncode, told.stderr, told.stdout) == (0, "", helps[()])
    first_words = {line.strip("│| ").split(" ")[0] for line in told.stdout.splitlines()}
    assert {path[0] for path in COMMANDS if path} <= first_words


def test_help_takes_less_than_its_share_of_a_second() -> None:
    """Time of the processor, the least of up to twenty: other programs on the machine take from
    it by way of its caches.
    """

    def spent() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python("-m", "pixelwise", "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(spent() < HELP_SECONDS for _ in range(20))


@pytest.fixture(scope="module")
def helps() -> dict[tuple[str, ...], str]:
    """What each command says with ``--help``, all by one process."""
    code = (
        "import json, sys; from pixelwise.cli.app import run\n"
        "for path in json.loads(sys.argv[1]): run([*path, '--help']); sys.stdout.write('\\0')"
    )
    told = python("-c", code, json.dumps([list(path) for path in COMMANDS])).stdout
    return dict(zip(COMMANDS, told.split("\0")[:-1], strict=True))


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "pixelwise")
def test_help_fits_one_screen(path: tuple[str, ...], helps: dict[tuple[str, ...], str]) -> None:
    lines = helps[path].rstrip().splitlines()
    assert f"pixelwise {' '.join(path)}".rstrip() in helps[path]
    assert len(lines) <= HELP_LINES
    assert max(map(len, lines)) <= COLUMNS


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "pixelwise")
def test_every_option_says_what_it_is(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help, f"{path} has no sentence"
    silent = [p.name for p in command.params if getattr(p, "help", "") in (None, "")]
    assert not [n for n in silent if n != "help"]


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "pixelwise")
def test_all_help_speaks_in_one_voice(path: tuple[str, ...]) -> None:
    """Options are told in lower case without a stop; arguments are named in capitals."""
    own = [p for p in COMMANDS[path].params if p.name != "help" and not getattr(p, "hidden", 0)]
    told = {p.name: getattr(p, "help", "") or "" for p in own}
    assert not [t for t in told.values() if t.endswith(".") or t.split(" ")[0].istitle()]
    named = [p.metavar or "" for p in own if p.param_type_name == "argument"]
    assert all(name.isupper() for name in named)


def test_unknown_commands_and_options_exit_2_and_write_nothing(tmp_path: Path) -> None:
    for wrong in (["trian"], ["nets", "--sizes", "1x1"], ["train"]):
        done = python("-m", "pixelwise", *wrong, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), wrong
        assert done.stderr.startswith("error U002: ")
        assert "hint: " in done.stderr
    assert not list(tmp_path.iterdir())
