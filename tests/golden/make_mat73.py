"""Makes mat73.mat: MATLAB 7.3 as hdf5storage writes it, an oracle independent of our reader.

Run once, by hand, with the ``hdf5storage`` package (0.2.2, 2026-11-26) importable:

    python tests/golden/make_mat73.py tests/golden/mat73.mat
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

CONTENT: dict[str, Any] = {
    "images": np.arange(5 * 4 * 3 * 2, dtype=np.uint8).reshape(5, 4, 3, 2),
    "labels": np.arange(5 * 4 * 2, dtype=np.uint16).reshape(5, 4, 2) * 300,
    "depths": np.linspace(0.5, 9.9, 5 * 4 * 2, dtype=np.float32).reshape(5, 4, 2),
    "flag": np.array([[True, False, True]]),
    "names": np.array(["wall", "floor mat", ""], object),
    "scene": "kitchen_0004",
    "empty": np.zeros((0, 3)),
    "GTcls": {"Segmentation": np.arange(6.0).reshape(2, 3)},
}

if __name__ == "__main__":
    import hdf5storage

    hdf5storage.savemat(sys.argv[1], CONTENT, format="7.3", matlab_compatible=True, oned_as="row")
