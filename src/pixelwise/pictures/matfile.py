"""Arrays out of MATLAB's .mat files and HDF5, read in a process that a damaged file may kill.

scipy's reader is not made for damaged files: of 10,000 mutated copies of a small one 29 crashed it
and two never ended. So a child process reads, under limits of memory and time; what kills it is an
error that names the file, and the next file gets a new process. One process serves many files.
"""

from __future__ import annotations

import atexit
import functools
import json
import math
import os
import signal
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, ResourceError
from pixelwise.pictures import matfile_process

MEMORY = 2 << 30
"""Bytes of address space. The libraries take 0.15 GB, a label map or a frame under 0.01 GB."""
SECONDS = 30
"""Of processor time for one file; those of the published data sets take under one."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # each thread of a linear algebra library reserves address space
    "OPENBLAS_NUM_THREADS": "1",
    "HDF5_PLUGIN_PRELOAD": "::",  # a file may not ask for code to be loaded
}


class MatReader:
    """Reads ``.mat`` files of version 5 and 7.3, and HDF5; used with ``with``, by any thread.

    Args:
        memory: bytes of address space that the child process may take.
        seconds: of processor time that one file may take; it has twice as long by the clock.

    Raises:
        ResourceError: R008 the extra is not installed.
    """

    def __init__(self, *, memory: int = MEMORY, seconds: int = SECONDS) -> None:
        if not all(map(find_spec, ("scipy", "h5py"))):
            raise _lacking("scipy and h5py, which read .mat files, are missing")
        self.memory, self.seconds = memory, seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()

    def __enter__(self) -> MatReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child process; a later ``read`` starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def read(self, path: Path, *keys: str) -> tuple[NDArray[Any], ...]:
        """What stands under each key, numbers or text; shapes as MATLAB shows them.

        Fields of a struct follow a dot (``GTcls.Segmentation``). ``images[3]`` is the fourth frame
        of an array, counted along its last axis (of plain HDF5: the first), or the fourth cell;
        nothing else of an HDF5 file is read then. Char arrays and cell arrays of text are (n,) of
        ``str``.

        Raises:
            DataError: D010 no such file; D026 it is damaged or of another format, it lacks a key
                (with those that are there), or what is there is no array.
            ResourceError: R008 what is installed does not load.
        """
        return tuple(self._asked(Path(path), keys)[1])

    def variables(self, path: Path) -> dict[str, tuple[int, ...]]:
        """Name and shape of everything at the top of a file.

        Raises:
            DataError: as ``read``.
        """
        head, _ = self._asked(Path(path), ())
        return {name: tuple(shape) for name, shape in head["variables"].items()}

    def _asked(
        self, path: Path, keys: tuple[str, ...]
    ) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        if not path.is_file():
            raise DataError("D010", f"{path} does not exist or is no file", "check the path")
        with self._turn:
            if self._process is not None and self._process.poll() is not None:
                self.close()  # something else ended it
            process = self._process = self._process or _started(self.memory, self.seconds)
            # A clock beside the limit of processor time: a process can also wait for ever.
            clock = threading.Timer(2 * self.seconds, process.kill)
            begun = monotonic()
            clock.start()
            try:
                head, arrays = _answer(process, path, keys)
            except (OSError, ValueError, TypeError, KeyError):
                self.close()
                late = monotonic() - begun >= 2 * self.seconds
                raise self._died(process.returncode, path, late=late) from None
            except BaseException:  # half an answer would be taken for the next file's
                self.close()
                raise
            finally:
                clock.cancel()
            if "damaged" in head:  # what it did to the process's memory is not known
                self.close()
        if "lacking" in head:
            raise _lacking(f"what reads .mat files cannot be loaded ({head['lacking']})")
        if "damaged" in head or "refused" in head:
            hint = head.get("hint") or "fetch it again, or leave it out"
            raise DataError("D026", f"{path}: {head.get('refused') or head['damaged']}", hint)
        return head, arrays

    def _died(self, code: int, path: Path, *, late: bool) -> DataError:
        numbers = {-number: number.name for number in signal.Signals}
        ending = numbers.get(code, f"exit code {code}")
        what = f"the process that read it died ({ending}), as damaged files make it"
        if late or ending == "SIGXCPU":
            what = f"not read within {self.seconds} s of processor time"
        return DataError("D026", f"{path}: {what}", "fetch it again, or leave it out")


@functools.cache
def shared_reader() -> MatReader:
    """One child process for all files."""
    reader = MatReader()
    atexit.register(reader.close)
    return reader


def _started(memory: int, seconds: int) -> subprocess.Popen[bytes]:
    """The child: a session of its own, so that Ctrl-C does not reach it; it ends with stdin.

    Raises:
        ResourceError: R008 it does not start, whatever the file.
    """
    program = [sys.executable, "-P", matfile_process.__file__, str(memory), str(seconds)]
    process = subprocess.Popen(
        program,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **ENVIRONMENT},
        start_new_session=True,
    )
    assert process.stdout
    if process.stdout.readline() != matfile_process.READY:
        process.kill()
        process.communicate()
        raise _lacking("the process that reads .mat files does not start")
    return process


def _lacking(what: str) -> ResourceError:
    return ResourceError("R008", what, 'pip install "pixelwise[data]"')


def _answer(
    process: subprocess.Popen[bytes], path: Path, keys: tuple[str, ...]
) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """One question and its answer.

    Raises:
        OSError, ValueError, TypeError, KeyError: there is none, or none that makes sense.
    """
    assert process.stdin
    assert process.stdout
    question = {"path": str(path.absolute()), "keys": keys}
    process.stdin.write(json.dumps(question).encode("ascii") + b"\n")
    process.stdin.flush()
    head = json.loads(process.stdout.readline())
    arrays = []
    for kind, shape in head.get("arrays", ()):
        dtype = np.dtype(kind)
        size = dtype.itemsize * math.prod(shape)
        content = bytearray(process.stdout.read(size))  # an array over it can be written to
        if dtype.kind not in matfile_process.PLAIN or len(content) < size:
            raise ValueError("cut off")
        arrays.append(np.frombuffer(content, dtype).reshape(shape))
    return head, arrays
