"""The shell completes commands and nets, without torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.source import ROOT

from pixelwise.nets.catalog import NETS


def completed(command: list[str], home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    plain = {"HOME": str(home), "PYTHONPATH": str(ROOT / "src"), "PATH": f"{home}:/usr/bin:/bin"}
    return subprocess.run(
        command, env={**plain, **variables}, capture_output=True, text=True, timeout=300, check=True
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Has ``pixelwise`` on its path, as an installation has."""
    script = tmp_path / "pixelwise"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -X importtime -m pixelwise "$@"\n')
    script.chmod(0o755)
    return tmp_path


def test_bash_completes_commands_and_nets(home: Path) -> None:
    script = completed([str(home / "pixelwise")], home, _PIXELWISE_COMPLETE="source_bash").stdout
    asked = f"""{script}
    COMP_WORDS=(pixelwise tr) COMP_CWORD=1 && _pixelwise_completion pixelwise
    printf '%s\\n' "${{COMPREPLY[@]}}" ,
    COMP_WORDS=(pixelwise train d --net fcn8s-vgg16) COMP_CWORD=4
    _pixelwise_completion pixelwise && printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = completed(["bash", "-c", asked], home)
    commands, nets = (part.split() for part in done.stdout.split(","))
    assert commands == ["train"]
    assert nets == [name for name in NETS if name.startswith("fcn8s-vgg16")]
    assert len(nets) >= 3
    imported = set(re.findall(r"\| +(\w+)$", done.stderr, re.MULTILINE))
    assert "pixelwise" in imported
    assert not imported & {"torch", "numba", "lightning_fabric", "PIL"}


@pytest.mark.parametrize(
    ("shell", "asked"), [("zsh", {}), ("fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args"})]
)
def test_zsh_and_fish_complete_commands(home: Path, shell: str, asked: dict[str, str]) -> None:
    variables = {"_PIXELWISE_COMPLETE": f"complete_{shell}", **asked}
    command = [str(home / "pixelwise")]
    assert (
        "predict"
        in completed(command, home, _TYPER_COMPLETE_ARGS="pixelwise pre", **variables)
        .stdout.replace('"', " ")
        .split()
    )


def test_it_is_put_where_bash_looks_when_asked(home: Path) -> None:
    ask = [str(home / "pixelwise"), "--install-completion", "bash"]
    said = completed(ask, home, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1").stdout
    assert "bash completion installed" in said
    assert "pixelwise" in (home / ".bashrc").read_text()
    (script,) = (home / ".bash_completions").iterdir()
    assert "complete -o default -F _pixelwise_completion pixelwise" in script.read_text()
