"""Helper modules beside the tests can be imported: importlib mode does not put them on the path."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(p) for p in (HERE.parent, HERE / "report", HERE / "weights", HERE / "metrics")]
