"""Blocks of documents, carried out in a folder as a reader would, with long commands cut short.

The commands of `pixelwise` run in this process: starting Python for each takes longer than most.
Other programs, and lines with pipes, run in bash, where `pixelwise` is this checkout.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.house import made
from tests.house.source import ROOT
from tests.house.steps import Step

# What sets up the reader's machine; where the tests run it is set up.
ENVIRONMENT = re.compile(r"(pip|make|export|git|\.|python -m venv)\s")
# Of `train`: how long it takes, and what on.
LENGTHS = ("--minutes", "--epochs", "--iterations")
SHORT = {
    ("train",): "--iterations 3 --threads 1 --device cpu --set crop=32x32",
    ("demo",): "--steps 3 --images 20",
    ("data", "make", "scenes"): "--count 20",
    ("crf", "--search"): "--minutes 0.02",
    ("quantize",): "--threads 1",
}
PORT = "8000"
SECONDS = 120  # for one command


def made_inputs(text: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, kind = part.partition("=")
        yield name, kind


def command_lines(block: str) -> Iterator[str]:
    """One command each; a block with a here-document is one."""
    if "<<" in block:
        yield block
        return
    for line in block.replace("\\\n", " ").splitlines():
        command = line.removeprefix("$ ").strip()
        if command and not command.startswith("#"):
            yield command


def is_for_a_shell(line: str) -> bool:
    """Whether operators of the shell stand in it, outside of quotes."""
    words = shlex.shlex(line, posix=False, punctuation_chars=True)
    words.whitespace_split = True
    return any(set(word) <= set("();<>|&") for word in words) or "$" in line


def shortened(words: list[str]) -> list[str]:
    """The same command, on nets and for times that a test has.

    A training that names no net, recipe or run to start from takes the small net.
    """
    for start, options in SHORT.items():
        if tuple(words[: len(start)]) == start and not {"-h", "--help", "--resume"} & set(words):
            pairs = list(zip(options.split()[::2], options.split()[1::2], strict=True))
            replaced = {option for option, _ in pairs if option != "--set"} | set(LENGTHS)
            words = without(words, replaced)
            for option, value in pairs:
                setting = value.split("=")[0] if option == "--set" else option.removeprefix("--")
                if not any(word.startswith(f"{setting}=") for word in words):
                    words += [option, value]
            return [*words, *net_of(words)] if start == ("train",) else words
    return words


def net_of(words: list[str]) -> list[str]:
    if any(trunk in word for word in words for trunk in made.NARROW):
        return ["--set", "width=0.0625"]
    chosen = ("--net", "--weights")
    is_recipe = any(word.endswith((".yaml", ".yml")) for word in words)
    return [] if is_recipe or set(chosen) & set(words) else ["--net", "fcn8s-tiny"]


def without(words: list[str], options: set[str]) -> list[str]:
    """The words but these options and their values."""
    kept, skip = [], False
    for word in words:
        if skip or word in options:
            skip = not skip
        else:
            kept.append(word)
    return kept


def printed_so(expected: str, printed: str) -> bool:
    """Whether the lines stand in what is printed, in this order; ``...`` is anything in a line.

    A line of ``...`` alone is for the reader: other lines may always stand between.
    """
    lines = iter([words(line) for line in printed.splitlines()])
    for line in filter(None, (words(e) for e in expected.splitlines())):
        pattern = ".*".join(re.escape(part) for part in line.split("..."))
        if not any(re.fullmatch(pattern, p) for p in lines) and line != "...":
            return False
    return True


def words(line: str) -> str:
    """A line without the bars of tables, its blanks made one."""
    return " ".join(re.sub("[│┃]", " ", line).split())


def environment() -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def free_port() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def answers(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


def is_missing(name: str) -> bool:
    """Whether neither a package nor a program is called so."""
    return bool(name) and not (importlib.util.find_spec(name) or shutil.which(name))


@dataclass
class Reader:
    """Who works through a page in ``folder``; closed, what still serves is ended."""

    folder: Path
    names: dict[str, object] = field(default_factory=dict)
    printed: str = ""
    port: str = field(default_factory=free_port)
    service: subprocess.Popen[bytes] | None = None

    def take(self, step: Step) -> None:
        """Do what a block says, and compare what it is said to print."""
        for name, kind in made_inputs(step.marks.get("made", "")):
            made.make(self.folder, name, kind)
        if "file" in step.marks:
            path = self.folder / step.marks["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.text, "utf-8")
        elif "printed" in step.marks:
            assert printed_so(step.text, self.printed), (
                f"expected:\n{step.text}\nprinted:\n{self.printed}"
            )
        elif step.typed and "not run" not in step.marks:
            self.printed = ""
            if step.language == "python":
                self._python(step.text)
            else:
                self._shell(step)

    def _python(self, code: str) -> None:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, "block", "exec"), self.names)
        self.printed = out.getvalue()

    def _shell(self, step: Step) -> None:
        lines = list(command_lines(step.text))
        for number, line in enumerate(lines):
            wanted = int(step.marks.get("exits", 0)) if number == len(lines) - 1 else 0
            status = self._line(line)
            assert status == wanted, f"{line}\nended with {status}:\n{self.printed}"

    def _line(self, line: str) -> int:
        if ENVIRONMENT.match(line):
            return 0
        line = line.replace(PORT, self.port)
        if line.startswith("pixelwise serve"):
            return self._serve(line)
        if not line.startswith("pixelwise ") or is_for_a_shell(line):
            return self._bash(line)
        from pixelwise.cli.app import run

        talk = io.StringIO()
        with contextlib.redirect_stdout(talk), contextlib.redirect_stderr(talk):
            status = run(shortened(shlex.split(line, comments=True)[1:]))
        self.printed += talk.getvalue()
        return status

    def _bash(self, line: str) -> int:
        programs = self.folder.parent / "programs"
        programs.mkdir(exist_ok=True)
        ours = programs / "pixelwise"
        ours.write_text(f'#!/bin/sh\nexec {sys.executable} -m pixelwise "$@"\n', "utf-8")
        ours.chmod(0o755)
        places = (programs, Path(sys.executable).parent, os.environ["PATH"])
        done = subprocess.run(
            ["bash", "-c", line],
            env={**environment(), "PATH": os.pathsep.join(map(str, places))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        self.printed += done.stdout
        return done.returncode

    def _serve(self, line: str) -> int:
        """Start what the reader would start in a second window, and wait until it answers."""
        self.close()
        words = shlex.split(line, comments=True)[1:]
        words += [] if "--port" in words else ["--port", self.port]
        log = self.folder.parent / "service.log"
        with log.open("wb") as out:
            self.service = subprocess.Popen(
                [sys.executable, "-m", "pixelwise", *words],
                env=environment(),
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        begun = time.monotonic()
        while not answers(self.port):
            status = self.service.poll()
            assert status is None, f"{line} ended with {status}: {log.read_text()}"
            assert time.monotonic() < begun + SECONDS, f"{line}: {log.read_text()}"
            time.sleep(0.1)
        self.printed += log.read_text().replace(self.port, PORT)
        return 0

    def close(self) -> None:
        if self.service:
            self.service.terminate()
            self.service.wait(SECONDS)
        self.service = None
