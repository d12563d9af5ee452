"""The ``pixelwise`` command: its subcommands, and where an error becomes an exit code."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
from typer.exceptions import TyperException

from pixelwise import __version__
from pixelwise.cli import (
    bench,
    bounds,
    compare,
    crf,
    data,
    demo,
    doctor,
    evaluate,
    export,
    figures,
    nets,
    predict,
    quantize,
    recipes,
    report,
    reproduce,
    score,
    serve,
    train,
    weights,
)
from pixelwise.cli.console import emit_json, remarks_said, say
from pixelwise.errors import DataError, PixelwiseError, ResourceError, Stopped, UsageError
from pixelwise.machine.files import write_error

SHOWN_PROBLEMS = 20  # of one error: about a screen; --json has all of them
NEAR = 0.75  # likeness of words, 1 for equal ones: `trian` has 0.8 of train, `scene` 0.6 of score
SHOWN_HINTS = 5  # for different kinds of problems
PRINTERS = {"cli", "rich", "typer", "click"}  # packages that write to stdout

app = typer.Typer(
    name="pixelwise",
    help="Fully convolutional networks for semantic segmentation.",
    no_args_is_help=True,
    suggest_commands=False,  # they come from `_misspelt`, which leaves out what is only similar
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo.demo)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(predict.predict)
app.command()(score.score)
app.command()(crf.crf)
app.command()(compare.compare)
app.command()(bounds.bounds)
app.command()(report.report)
app.command()(reproduce.reproduce)
app.command()(nets.nets)
app.command()(export.export)
app.command()(quantize.quantize)
app.command()(figures.figures)
app.command()(bench.bench)
app.command()(serve.serve)
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
app.command()(recipes.recipes)
app.command()(doctor.doctor)


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="print the version"),
) -> None:
    if version:
        sys.stdout.write(f"pixelwise {__version__}\n")
        raise typer.Exit


def command() -> Any:
    """The whole of the commands; of typer's options for completion ``docs/install.md`` tells."""
    made: Any = typer.main.get_command(app)
    for option in made.params:
        option.hidden = option.name in ("install_completion", "show_completion")
    return made


def main() -> None:
    """Run the command line; never returns."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Carry out a command line.

    Returns:
        0 done; 1 some items failed; 2 usage; 3 data; 4 model; 5 resource; 6 numerical; 7 our bug;
        130 / 143 interrupted, what there is was saved (``docs/errors.md``).
    """
    if sys.stdout is None:  # closed by whoever called
        sys.stdout = io.StringIO()
    try:
        code = _carry_out(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        _discard_stdout()
        return 0
    except OSError as error:
        _discard_stdout()
        return _report(write_error(Path("standard output"), error), as_json=False)
    return code


def _carry_out(arguments: list[str]) -> int:
    """The exit code of a command whose errors are printed; those of stdout are raised."""
    try:
        _refuse_empty(arguments)
        with remarks_said():
            made = command()
            outcome: object = made(args=arguments, prog_name="pixelwise", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, BrokenPipeError) or (isinstance(error, OSError) and _printing(error)):
            raise
        if isinstance(error, TyperException) and not error.format_message():
            return UsageError.exit_code  # a group without a command has shown its help
        return _report(_as_ours(error), as_json="--json" in arguments)


def _as_ours(error: BaseException) -> PixelwiseError:
    """Any error as one with a code and a hint; the last resort is our own bug."""
    if isinstance(error, PixelwiseError):
        return error
    if isinstance(error, TyperException):
        command = getattr(getattr(error, "ctx", None), "command_path", "pixelwise")
        message = error.format_message().rstrip(".")
        return UsageError("U002", f"{message}{_misspelt(error, message)}", f"{command} --help")
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return Stopped(signal.SIGINT, "interrupted")
    if isinstance(error, MemoryError):
        hint = "smaller pictures, a smaller batch or crop"
        return ResourceError("R003", "not enough memory", hint)
    handle, name = tempfile.mkstemp(prefix="pixelwise-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as f:
        f.write("".join(traceback.format_exception(error)))
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    hint = f"this is a bug in pixelwise; the traceback is in {name}, please report it"
    return PixelwiseError("B001", text, hint)


def _misspelt(error: TyperException, message: str) -> str:
    """The command that was meant, if one is spelt nearly so: `scene` is not `score`."""
    typed = re.fullmatch(r"No such command '(.*)'", message)
    group = getattr(getattr(error, "ctx", None), "command", None)
    near = get_close_matches(typed[1], getattr(group, "commands", ()), 1, NEAR) if typed else []
    return f"; did you mean `{near[0]}`?" if near else ""


def _printing(error: OSError) -> bool:
    """Whether those who print were the last to be called; the system does not name stdout."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return bool(PRINTERS.intersection(Path(last.filename).parts))


def _discard_stdout() -> None:
    """What is still to be written goes nowhere; the interpreter would fail on it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse_empty(arguments: Sequence[str]) -> None:
    """An empty word, as an unset shell variable leaves it, would mean the current folder."""
    for before, word in pairwise(("pixelwise", *arguments)):
        if not word or re.fullmatch(r"--[a-z0-9-]+=", word):
            where = f"after `{before}`" if not word else f"in `{word}`"
            hint = "give a value; a shell variable that is not set is empty"
            raise UsageError("U002", f"the argument {where} is empty", hint)


def _report(error: PixelwiseError, *, as_json: bool) -> int:
    problems = error.problems if isinstance(error, DataError) else ()
    if as_json:
        listed = [p.as_dict() for p in problems or (error,)]
        emit_json({**error.as_dict(), "problems": listed})
    word = "stopped" if isinstance(error, Stopped) else f"error {error.code}"
    say(f"{word}: {error}")
    for problem in problems[:SHOWN_PROBLEMS]:
        say(f"  {problem.code}: {problem}")
    if len(problems) > SHOWN_PROBLEMS:
        say(f"  ... and {len(problems) - SHOWN_PROBLEMS} more (--json lists all)")
    for hint in _hints(error, problems):
        say(f"hint: {hint}")
    return error.exit_code


def _hints(error: PixelwiseError, problems: Sequence[DataError]) -> list[str]:
    """The error's own, else one for each kind of problem."""
    if error.hint:
        return [error.hint]
    by_code = {p.code: p.hint for p in reversed(problems) if p.hint}
    return [f"{code}: {by_code[code]}" for code in sorted(by_code)][:SHOWN_HINTS]
