"""Helper modules in ``tests`` can be imported: importlib mode does not put them on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
