"""Mutation testing: cosmic-ray's changes of the source, a drawn part of them, each against tests.

    python tests/trust/mutation.py reach FOLDER TESTS... [--jobs 2]
    python tests/trust/mutation.py try FOLDER ROOMS... [--sample 100] [--seed 17] [--again]
    python tests/trust/mutation.py table FOLDER

``reach`` writes down which of the tests (files or folders) come to which line; a test that fails
is named and left out. ``try`` makes one change at a time and runs the tests that come to it until
one fails, one case of each first. Each of the ``--jobs`` processes (as many as there are cores)
works in a copy of the working tree of its own, FOLDER/tree-I. A room is a folder of
``src/pixelwise``; its sample is spread over its files in proportion to what can be changed in
them. What stands in ``FOLDER/results.jsonl`` is not tried again, so that a larger sample goes on
from a smaller one; ``--again`` takes up what survived, after tests were added and ``reach`` was
told of them.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import coverage
import pytest
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB, use_db

ROOT = Path(__file__).parents[2]
ROOMS = ("nets", "metrics", "losses", "training", "weights", "pages")
SECONDS = 20.0
"""Of tests for one change, as long as they took when nothing was changed."""
OPTIONS = ["-q", "-x", "-p", "no:cacheprovider", "-p", "_hypothesis_pytestplugin", "--no-header"]
OPTIONS += ["-m", "not slow", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
OUTCOMES = {0: "survived", 5: "survived", -signal.SIGXCPU: "too long", -signal.SIGALRM: "too long"}
"""By exit status; every other one is a test that failed, or a module that cannot be imported."""
NOTICED = ("killed", "too long")
IMPORT = ""
"""Instead of a test: the line was carried out before the first one."""
Mutant = dict[str, Any]


def enter(folder: Path, worker: int) -> None:
    """A worker's copy, made anew from the working tree, as the working directory."""
    tree = folder / f"tree-{worker}"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    os.chdir(tree)
    sys.path.insert(0, str(tree / "src"))
    sys.dont_write_bytecode = True  # of a changed file it would outlive the change
    os.environ |= {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}


# -- which tests come to a line -------------------------------------------------------------------
class Watch:
    """A plugin: the lines that each test comes to, and its seconds of processor time."""

    def __init__(self) -> None:
        self.seen = coverage.Coverage(data_file=None, source=[f"src/pixelwise/{r}" for r in ROOMS])
        self.times: dict[str, float] = {}
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.seen.switch_context(item.nodeid)
        start = time.process_time()
        result = yield
        self.times[item.nodeid] = time.process_time() - start
        self.seen.switch_context("")
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:  # nothing is proved by what fails anyway
            self.failed.add(report.nodeid)


def reach(folder: Path, tests: list[str], jobs: int) -> None:
    """One process a target and one file of each, so that what was made outlives a stop."""
    (folder / "reach").mkdir(exist_ok=True)
    running: set[int] = set()
    for number, target in enumerate(tests):
        if len(running) == jobs:
            running.remove(os.wait()[0])
        if pid := os.fork():
            running.add(pid)
            continue
        enter(folder, number)
        os._exit(reach_one(folder, target))
    for pid in running:
        os.waitpid(pid, 0)


def reach_one(folder: Path, target: str) -> int:
    watch = Watch()
    with watch.seen.collect():
        status = pytest.main([*(o for o in OPTIONS if o != "-x"), target], plugins=[watch])
    data = watch.seen.get_data()
    found: dict[str, Any] = {"times": watch.times, "lines": {}, "failed": sorted(watch.failed)}
    for path in data.measured_files():
        lines = found["lines"][os.path.relpath(path)] = {}
        for line, ids in data.contexts_by_lineno(path).items():
            lines[str(line)] = sorted(ids)
    (folder / "reach" / f"{target.replace('/', '-')}.json").write_text(json.dumps(found))
    return int(status)


def reached(folder: Path) -> dict[str, Any]:
    """All targets' seconds by test, and tests by file and line; what failed is in neither."""
    times: dict[str, float] = {}
    lines: dict[str, Any] = defaultdict(lambda: defaultdict(set))
    for place in sorted((folder / "reach").glob("*.json")):
        found = json.loads(place.read_text())
        for name in found["failed"]:
            print("left out, it fails:", name, file=sys.stderr)
            found["times"].pop(name, None)
        times |= found["times"]
        for path, of_file in found["lines"].items():
            for line, ids in of_file.items():
                lines[path][line] |= {*ids} & {IMPORT, *found["times"]}
    return {"times": times, "lines": lines}


def in_functions(source: str) -> set[int]:
    """Lines of functions' bodies: who imports the others first says nothing of who needs them."""
    functions = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef))
    return {n for f in functions for n in range(f.body[0].lineno, (f.end_lineno or 0) + 1)}


def chosen(known: dict[str, Any], mutant: Mutant) -> list[str]:
    """Tests that come to its lines; of a line that is carried out on import, then to its file."""
    lines, times, room = known["lines"].get(mutant["file"], {}), known["times"], mutant["room"]
    inside = in_functions(Path(mutant["file"]).read_text("utf-8"))
    own = {*range(mutant["lines"][0], mutant["lines"][1] + 1)}
    ids = {i for n in own & inside for i in lines.get(str(n), ())}
    every = {i for of_line in lines.values() for i in of_line} if IMPORT in ids or not ids else ids
    cases: Counter[str] = Counter()
    rounds = []
    for test in sorted(
        every - {IMPORT}, key=lambda i: (i not in ids, f"unit/{room}" not in i, times[i])
    ):
        name = test.partition("[")[0]
        rounds.append((cases[name], test))
        cases[name] += 1
    taken, spent = [], 0.0
    for _, test in sorted(rounds, key=lambda r: r[0]):
        if spent + times[test] <= SECONDS or not taken:
            taken.append(test)
            spent += times[test]
    return taken


# -- changes --------------------------------------------------------------------------------------
def no_computations(source: str) -> set[tuple[int, int]]:
    """Where `|` joins types, and where `*` stands alone among parameters."""
    tree, lines = ast.parse(source), source.splitlines()
    types = [n.annotation for n in ast.walk(tree) if isinstance(n, ast.AnnAssign | ast.arg)]
    types += [n.returns for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    spans = [((t.lineno, t.col_offset), (t.end_lineno, t.end_col_offset)) for t in types if t]
    return {
        (row, column)
        for row, line in enumerate(lines, 1)
        for column, sign in enumerate(line)
        if (sign == "|" and any(first <= (row, column) < last for first, last in spans))
        or (sign == "*" and line[column + 1 : column + 2] in (",", ""))
    }


def drawn(room: str, sample: int, seed: int, folder: Path) -> list[Mutant]:
    """The changes to try: of each file the first of them in an order that the seed gives."""
    paths = sorted(Path(f"src/pixelwise/{room}").rglob("*.py"))
    by_file: dict[str, list[Mutant]] = defaultdict(list)
    with use_db(str(folder / f"{room}.sqlite"), WorkDB.Mode.create) as session:
        init(paths, session, {})
        for (one,) in (item.mutations for item in session.work_items):
            name, lines = str(one.module_path), (one.start_pos[0], one.end_pos[0])
            change = {"room": room, "file": name, "lines": lines, "operator": one.operator_name}
            by_file[name].append(change | {"occurrence": one.occurrence, "at": one.start_pos})
    for name, changes in sorted(by_file.items()):
        nothing = no_computations(Path(name).read_text("utf-8"))
        by_file[name] = [change for change in changes if tuple(change["at"]) not in nothing]
        random.Random(f"{seed} {name}").shuffle(by_file[name])
    total = sum(map(len, by_file.values()))
    made = [c for of in by_file.values() for c in of[: max(1, round(sample * len(of) / total))]]
    print(f"{room}: {total} changes, {len(made)} drawn", flush=True)
    return made


def changed(mutant: Mutant, source: str) -> str:
    """The source with the change; empty where that is no Python."""
    made = mutate_code(source, get_operator(mutant["operator"])(), mutant["occurrence"])
    with suppress(SyntaxError, TypeError):
        compile(made, mutant["file"], "exec")
        return str(made)
    return ""


def attempt(mutant: Mutant, tests: list[str], place: Path) -> tuple[str, float]:
    """The outcome, and what it took of processor time; the copy is as before.

    What the tests print and make is in ``place``.
    """
    path = Path(mutant["file"])
    whole = path.read_text("utf-8")
    path.write_text(changed(mutant, whole), "utf-8")
    try:
        if not (pid := os.fork()):
            os.setpgid(0, 0)
            with place.with_suffix(".log").open("w") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_CPU, (int(60 + 3 * SECONDS),) * 2)
            resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))
            signal.alarm(1800)  # nothing may wait for ever
            os._exit(pytest.main([*OPTIONS, "--basetemp", str(place), *tests]))
        _, status, used = os.wait4(pid, 0)
        with suppress(ProcessLookupError):  # what it has started
            os.killpg(pid, signal.SIGKILL)
    finally:
        path.write_text(whole, "utf-8")
    outcome = OUTCOMES.get(os.waitstatus_to_exitcode(status), "killed")
    return outcome, used.ru_utime + used.ru_stime


def load_libraries() -> None:
    """All that our modules import, into the process that is forked; ours stay out."""
    listing = "import pkgutil, sys, contextlib, importlib, pixelwise\n"
    listing += "for m in pkgutil.walk_packages(pixelwise.__path__, 'pixelwise.'):\n"
    listing += "    with contextlib.suppress(ImportError):  # of an extra that is not here\n"
    listing += "        '__main__' in m.name or importlib.import_module(m.name)\n"
    listing += "print(*(n for n in sys.modules if not n.startswith('pixelwise')))"
    done = subprocess.run([sys.executable, "-c", listing], check=True, stdout=subprocess.PIPE)
    for name in done.stdout.decode().split():
        with suppress(ImportError):
            import_module(name)


def results(folder: Path) -> dict[tuple[str, str, int], Mutant]:
    """The last outcome of each change."""
    place = folder / "results.jsonl"
    lines = place.read_text().splitlines() if place.exists() else []
    return {(r["file"], r["operator"], r["occurrence"]): r for r in map(json.loads, lines)}


def try_all(
    folder: Path, rooms: list[str], sample: int, seed: int, jobs: int, *, again: bool
) -> None:
    known, before = reached(folder), results(folder)
    os.chdir(ROOT)
    todo = []
    for mutant in (made for room in rooms for made in drawn(room, sample, seed, folder)):
        old = before.get((mutant["file"], mutant["operator"], mutant["occurrence"]))
        if old is None or (again and old["outcome"] not in NOTICED):
            todo.append(mutant)
    load_libraries()
    for worker in range(jobs):
        if not os.fork():
            enter(folder, worker)
            for mutant in todo[worker::jobs]:
                try_one(mutant, chosen(known, mutant), folder, folder / f"made-{worker}")
            os._exit(0)
    for _ in range(jobs):
        os.wait()


def try_one(mutant: Mutant, tests: list[str], folder: Path, place: Path) -> None:
    source = Path(mutant["file"]).read_text("utf-8")
    if not (new := changed(mutant, source)):
        return
    outcome, seconds = attempt(mutant, tests, place) if tests else ("not reached", 0.0)
    pair = zip(source.splitlines(), new.splitlines(), strict=False)
    found = {"outcome": outcome, "seconds": round(seconds, 2), "tests": len(tests)}
    found["change"] = next(([a, b] for a, b in pair if a != b), ["", ""])
    with (folder / "results.jsonl").open("a") as log:
        log.write(json.dumps(mutant | found) + "\n")


# -- what came out --------------------------------------------------------------------------------
def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    z, share = 1.96, hits / of
    middle = (share + z**2 / (2 * of)) / (1 + z**2 / of)
    half = z / (1 + z**2 / of) * math.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    return middle - half, middle + half


def table(folder: Path) -> None:
    by_room = defaultdict(list)
    for made in results(folder).values():
        by_room[made["room"]].append(made)
    print("| room | tried | killed | survived | killed of 100 |\n|---|--:|--:|--:|---|")
    for room, made in by_room.items():
        killed = sum(m["outcome"] in NOTICED for m in made)
        low, high = (round(100 * end) for end in wilson(killed, len(made)))
        rate = f"{100 * killed / len(made):.0f} ({low} to {high})"
        print(f"| {room} | {len(made)} | {killed} | {len(made) - killed} | {rate} |")
    for made in (m for of_room in by_room.values() for m in of_room):
        if made["outcome"] not in NOTICED:
            before, after = (line.strip() for line in made["change"])
            print(f"\n{made['file']}:{made['lines'][0]} {made['outcome']}, {made['tests']} tests")
            print(f"- {before}\n+ {after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["reach", "try", "table"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--again", action="store_true")
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if given.action == "table":
        return table(folder)
    if given.action == "reach":
        return reach(folder, given.names, given.jobs)
    jobs = given.jobs
    return try_all(folder, given.names, given.sample, given.seed, jobs, again=given.again)


if __name__ == "__main__":
    main()
