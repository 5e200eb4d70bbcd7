"""Measurements behind the project's claims about speed: run one with `python -m benchmarks.NAME`.

Helpers of the tests (`tests/support`) can be imported by their names.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
