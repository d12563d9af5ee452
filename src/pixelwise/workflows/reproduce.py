"""The queue of short trainings that measures the paper's sentences again; it goes on where it was.

OUT/queue.json          what all of its runs share
    scenes/             the made scenes
    runs/GROUND-KEY/    a run folder; KEY is of the whole recipe, so that claims share runs
        trained.json    it is finished
        judged-KEY.json what an arm's look at the held pictures came to
    claims/CLAIM.json   the results
    reproduction.md     and its plots: all results so far
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.scenes.write import make_scenes
from pixelwise.errors import PixelwiseError, Stopped, UsageError
from pixelwise.experiments.claim_pages import write_page
from pixelwise.experiments.claims import Arm, Claim, catalogue, trained
from pixelwise.experiments.judging import judge
from pixelwise.experiments.verdicts import result
from pixelwise.folders import JOURNAL, STATE, read_journal
from pixelwise.machine.environment import environment
from pixelwise.machine.files import append_line, refuse_taken, write_json
from pixelwise.settings import as_dict, read
from pixelwise.training.journal import ProgressReport
from pixelwise.training.loop import train
from pixelwise.training.recipe import Recipe

QUEUE, RUNS, SCENES, CLAIMS, FAILURES = "queue.json", "runs", "scenes", "claims", "failures.jsonl"
TRAINED = "trained.json"
MADE, MADE_SEED = 200, 7  # scenes; other seeds than of the demo and its tests make others
TIMED = 20  # steps whose second half is timed, for a length in minutes
Say = Callable[[str], None]


@dataclass(frozen=True)
class Shared:
    """What all runs of a queue have in common; kept, and the same whenever it goes on."""

    data: str
    """Folder of the photos."""
    weights: str
    """That nets on photos start from."""
    trunk: str
    settings: tuple[str, ...] = ()
    """``key=value`` over all recipes."""
    steps: Mapping[str, int] = field(default_factory=dict)
    """Length of a run by ground; those that are not here are the claims' own."""


@dataclass(frozen=True)
class Queue:
    """A folder of runs and results."""

    out: Path
    shared: Shared
    threads: int
    say: Say

    def values(self, claim: Claim, arm: Arm, seed: int) -> dict[str, Any]:
        """The recipe of an arm, as plain data."""
        photos = claim.ground == "photos"
        own = {
            "data": self.shared.data if photos else str(self.out / SCENES),
            "train_split": self.splits(claim)[0],
            "val_split": "",
            "weights": self.shared.weights if photos else "",
            "seed": seed,
        }
        return trained(
            arm,
            catalogue().grounds[claim.ground],
            own,
            trunk=self.shared.trunk,
            steps=self.shared.steps[claim.ground],
            settings=self.shared.settings,
        )

    def data(self, claim: Claim) -> DataSet:
        """The photos, or the scenes, which are made if they are not there."""
        if claim.ground == "photos":
            return _opened(Path(self.shared.data))
        if not (self.out / SCENES).exists():
            self.say(f"making {MADE} scenes in {self.out / SCENES}")
            make_scenes(self.out / SCENES, count=MADE, seed=MADE_SEED)
        return _opened(self.out / SCENES)

    def splits(self, claim: Claim) -> tuple[str, str]:
        """Trained and judged on."""
        known, ground = self.data(claim).splits, catalogue().grounds[claim.ground]
        for pair in ground.splits:
            if set(pair) <= set(known):
                return pair
        what = " or ".join(" and ".join(pair) for pair in ground.splits)
        hint = f"pixelwise data split {self.shared.data}"
        raise UsageError("U002", f"{self.shared.data} has no splits {what}", hint)

    def seconds_per_step(self, ground: str) -> float:
        """Processor time of a thread, of a ground's own recipe, in a queue for that alone."""
        claim = next(c for c in catalogue().claims.values() if c.ground == ground)
        run = self.out / f"timing-{ground}"
        seconds = self._train(self.values(claim, Arm(), 0), run)["step_seconds"]
        return float(seconds[-1]) / (self.threads or torch.get_num_threads())

    def run(self, claim: Claim, arm: Arm, seed: int) -> Mapping[str, Any]:
        """The record of an arm: trained and judged, unless that was done."""
        values = self.values(claim, arm, seed)
        run = self.out / RUNS / f"{claim.ground}-{_key(values)}"
        if not (run / TRAINED).is_file():
            self.say(f"training {values['net']}, seed {seed}, in {run}")
            write_json(run / TRAINED, self._train(values, run))
            for state in run.rglob(STATE):  # to resume from; twice as large as all the rest
                shutil.rmtree(state)
        judged = run / f"judged-{_key(as_dict(arm.look))}.json"
        record = json.loads((run / TRAINED).read_text(encoding="utf-8"))
        if not judged.is_file():
            data, split = self.data(claim), self.splits(claim)[1]
            write_json(judged, judge(run / record["weights"], arm.look, data, split, lambda: None))
        return {**json.loads(judged.read_text(encoding="utf-8")), **record, "seed": seed}

    def _train(self, values: Mapping[str, Any], run: Path) -> dict[str, Any]:
        """Carry a recipe out, or on; where its weights lie, its losses, and what its steps took."""
        recipe = read(Recipe, {**values, "threads": self.threads})
        seconds: list[float] = []
        before: tuple[int, float] | None = None

        def watch(report: ProgressReport) -> None:
            nonlocal before
            now = (report.step, time.process_time())
            if report.loss is None:
                return
            if before and now[0] > before[0]:  # not across the stages of a run
                seconds.append((now[1] - before[1]) / (now[0] - before[0]))
            before = now

        began = time.process_time()
        weights = train(recipe, run, resume=run.exists(), watch=watch)
        events = read_journal(weights.parent.parent / JOURNAL)
        curve = [[e["step"], round(e["loss"], 4)] for e in events if e["event"] == "step"]
        return {
            "weights": str(weights.relative_to(run)),
            "steps": curve[-1][0],
            # Of a run of one stretch also what reading its data took.
            "step_seconds": seconds or [(time.process_time() - began) / curve[-1][0]],
            "curve": curve,
            "versions": environment(),
        }


@cache
def _opened(folder: Path) -> DataSet:
    return open_dataset(folder)


def _key(values: Mapping[str, Any]) -> str:
    """A short name of settings, of what is said of them: new ones in a later version change none.

    Where the data lies is the queue's affair.
    """
    own = {k: v for k, v in values.items() if k != "data"}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:12]


def opened(out: Path, shared: Shared, *, minutes: float, threads: int, say: Say) -> Queue:
    """The queue in a folder; a new one gets its lengths, one that was begun keeps them.

    Raises:
        UsageError: U003 the folder holds something else, U004 it was begun with other settings.
    """
    kept, grounds = out / QUEUE, catalogue().grounds
    if kept.is_file():
        before = json.loads(kept.read_text(encoding="utf-8"))
        now = {**asdict(shared), "settings": list(shared.settings), "data": before["data"]}
        now["steps"] = now["steps"] or before["steps"]
        if wrong := [name for name, value in now.items() if value != before[name]]:
            apart = "; ".join(f"{name} {before[name]}, now {now[name]}" for name in wrong)
            what = f"{out} was begun with {apart}"
            raise UsageError("U004", what, "give the same, or choose another -o")
        return Queue(out, replace(shared, steps=before["steps"]), threads, say)
    refuse_taken(out)
    if minutes:
        say(f"timing {TIMED} steps on each ground, for runs of {minutes:g} minutes")
        with TemporaryDirectory() as place:
            long = replace(shared, steps=dict.fromkeys(grounds, TIMED))
            timed = Queue(Path(place), long, threads, say)
            each = {name: timed.seconds_per_step(name) for name in grounds}
        steps = {name: max(10, round(60 * minutes / s)) for name, s in each.items()}
    else:
        steps = {name: ground.steps for name, ground in grounds.items()} | dict(shared.steps)
    queue = Queue(out, replace(shared, steps=steps), threads, say)
    write_json(kept, asdict(queue.shared))
    return queue


def carry_out(
    queue: Queue,
    claims: Mapping[str, Claim],
    seeds: Sequence[int],
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[dict[str, Any]]:
    """Each claim's result, by all seeds so far: first all claims by the first seed, and so on.

    ``advance`` is told after each claim how many arms are done with.

    What fails is noted in ``failures.jsonl`` and given as ``{"claim": ..., "error": ...}``.
    """
    failed = set[str]()
    for done in range(1, len(seeds) + 1):
        for name in [n for n in claims if n not in failed]:
            try:
                measured = _measured(queue, name, claims[name], seeds[:done])
                advance(len(claims[name].arms))
                yield measured
            except Stopped as stopped:
                hint = "the same command goes on"
                raise Stopped(stopped.exit_code - 128, str(stopped), hint) from stopped
            except PixelwiseError as error:
                failed.add(name)
                facts = {"claim": name, **error.as_dict()}
                append_line(queue.out / FAILURES, json.dumps(facts, ensure_ascii=False))
                yield facts


def _measured(queue: Queue, name: str, claim: Claim, seeds: Sequence[int]) -> dict[str, Any]:
    path = queue.out / CLAIMS / f"{name}.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if len(old.get("seeds", ())) > len(seeds) and old["seeds"][: len(seeds)] == list(seeds):
        return old  # of more seeds
    records = {
        arm: [queue.run(claim, claim.arms[arm], seed) for seed in seeds] for arm in claim.arms
    }
    first = next(iter(records.values()))[0]
    trained_on, judged_on = queue.splits(claim)
    data = {"ground": claim.ground, "trained_on": trained_on, "judged_on": judged_on}
    facts = {
        **result(name, claim, records),
        "data": {**data, "pictures": len(first["pictures"]), "classes": len(first["classes"])},
        "weights": Path(queue.shared.weights).name if claim.ground == "photos" else "",
        "length": queue.shared.steps[claim.ground],
        "settings": list(queue.shared.settings),
        "seeds": list(seeds),
        "versions": first["versions"],
    }
    if old.get("verdict") == facts["verdict"]:  # a reason that was looked for stays
        facts["reason"] = old["reason"]
    write_json(path, facts)
    write_page(queue.out / "reproduction.md", read_results(queue.out / CLAIMS))
    return facts


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The results in a folder, in the order of the claims."""
    files = [folder / f"{name}.json" for name in catalogue().claims]
    return [json.loads(f.read_text(encoding="utf-8")) for f in files if f.is_file()]
