"""The ``pixelwise`` command: its subcommands, and where an error becomes an exit code."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

import typer
from typer.exceptions import TyperException

from pixelwise import __version__
from pixelwise.cli import (
    data,
    demo,
    doctor,
    evaluate,
    nets,
    predict,
    report,
    score,
    train,
    weights,
)
from pixelwise.cli.console import say
from pixelwise.errors import DataError, PixelwiseError, Stopped, UsageError

SHOWN = 20  # problems of one error that are printed; --json has all of them

app = typer.Typer(
    name="pixelwise",
    help="Fully convolutional networks for semantic segmentation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("score")(score.score)
app.command("report")(report.report)
app.command("nets")(nets.nets)
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
app.command("doctor")(doctor.doctor)


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version."),
) -> None:
    if version:
        sys.stdout.write(f"pixelwise {__version__}\n")
        raise typer.Exit


def main() -> None:
    """Run the command line; never returns."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Carry out a command line.

    Returns:
        0 done; 1 some items failed; 2 usage; 3 data; 4 model; 5 resource; 6 numerical; 7 our bug;
        130 / 143 interrupted after saving (``docs/errors.md``).
    """
    try:
        outcome: object = app(args=arguments, prog_name="pixelwise", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except TyperException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "pixelwise")
        return _told(UsageError("U002", error.format_message().rstrip("."), f"{command} --help"))
    except (KeyboardInterrupt, typer.Abort):
        say("interrupted")
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except PixelwiseError as error:
        return _told(error, as_json="--json" in arguments)
    except MemoryError:
        say("error R003: not enough memory\nhint: smaller pictures, a smaller batch or crop")
        return 5
    except Exception as error:  # noqa: BLE001 - the last resort: our own bug
        return _bug(error)


def _told(error: PixelwiseError, *, as_json: bool = False) -> int:
    code = error.exit_status if isinstance(error, Stopped) else error.exit_code
    problems = error.problems if isinstance(error, DataError) else ()
    if as_json:
        document = {**error.as_dict(), "problems": [p.as_dict() for p in problems]}
        sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    word = "stopped" if isinstance(error, Stopped) else f"error {error.code}"
    say(_printable(f"{word}: {error}"))
    for problem in problems[:SHOWN]:
        say(_printable(f"  {problem.code}: {problem}"))
    if len(problems) > SHOWN:
        say(f"  ... and {len(problems) - SHOWN} more (--json lists all)")
    if error.hint:
        say(_printable(f"hint: {error.hint}"))
    return code


def _bug(error: Exception) -> int:
    text = "".join(traceback.format_exception(error))
    handle, name = tempfile.mkstemp(prefix="pixelwise-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as f:
        f.write(text)
    say(_printable(f"error B001: {type(error).__name__}: {error}".splitlines()[0]))
    say(f"hint: this is a bug in pixelwise; the traceback is in {Path(name)}, please report it")
    return 7


def _printable(text: str) -> str:
    """File names may hold anything: control characters and lone surrogates are escaped."""
    safe = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in safe)
