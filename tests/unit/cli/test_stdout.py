"""Whoever reads what is printed may stop, or have no more room."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pixelwise.cli.app import run
from pixelwise.cli.console import remarks_said


@pytest.mark.skipif(os.name == "nt", reason="a shell")
def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"set -o pipefail; {sys.executable} -m pixelwise nets vgg16 --json | head -1"
    completed = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, "{\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", ["nets", "nets --json", "nets vgg16", "--help"])
def test_a_stdout_that_takes_no_more_is_told(arguments: str) -> None:
    command = [sys.executable, "-m", "pixelwise", *arguments.split()]
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert done.stderr.startswith("error R001: standard output: no space left")


def test_a_closed_stdout_is_nothing_to_stumble_over() -> None:
    command = f"{sys.executable} -m pixelwise nets vgg16 >&-"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_system_error_that_is_not_of_stdout_is_not_called_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("pixelwise.data.formats.layouts.open_dataset", fail)
    assert run(["data", "inspect", "x", "--json"]) == 7
    captured = capsys.readouterr()
    assert "standard output" not in captured.err
    assert json.loads(captured.out)["code"] == "B001"


def test_remarks_of_the_library_are_said_once_as_commands_speak(
    capsys: pytest.CaptureFixture[str],
) -> None:
    note = logging.getLogger("pixelwise.somewhere")
    with remarks_said():
        note.info("of no interest")
        with remarks_said(logging.INFO):
            note.info("rate %g", 0.5)
            note.warning("mind [this] \x1b[2J")
        note.info("of no interest either")
    assert capsys.readouterr().err == "rate 0.5\nwarning: mind [this] \\x1b[2J\n"
