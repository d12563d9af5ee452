"""Files that an atheris fuzzer makes, led by which lines of ours they reach.

    python tests/trust/guided.py KIND FOLDER SECONDS

Kinds and their whole files are those of fuzzing.py. The first file that is neither read nor
refused by an error of ours, or takes longer than two seconds or a gigabyte, ends it and is kept in
FOLDER.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris
from fuzzing import KINDS, SECONDS, Kind

MEGABYTES = 1024


def main() -> None:
    name, folder, seconds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    with atheris.instrument_imports(include=["pixelwise"], enable_loader_override=False):
        kind = KINDS[name]()  # imports its reader and reads whole files with it
    endings = sorted({Path(file).suffix for file in kind.seeds})
    names = {ending: next(n for n in kind.seeds if n.endswith(ending)) for ending in endings}
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for file, content in kind.seeds.items():
        # The first byte says how the file is called.
        (corpus / file).write_bytes(bytes([endings.index(Path(file).suffix)]) + content)
    with tempfile.TemporaryDirectory() as place:

        def one(data: bytes) -> None:
            if data:
                read(kind, Path(place) / f"copy-{names[endings[data[0] % len(endings)]]}", data[1:])

        limits = (f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", "-max_len=65536")
        length = (f"-max_total_time={seconds}", f"-artifact_prefix={folder}/found-")
        atheris.Setup([sys.argv[0], *limits, *length, "-print_final_stats=1", str(corpus)], one)
        atheris.Fuzz()


def read(kind: Kind, path: Path, content: bytes) -> None:
    from pixelwise.errors import PixelwiseError

    path.write_bytes(content)
    with suppress(PixelwiseError):
        kind.read(path)


if __name__ == "__main__":
    main()
