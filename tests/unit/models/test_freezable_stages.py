import subprocess
import sys

from ecgopt.models.registry import MODELS

COUNT = """
import sys
from ecgopt.models.registry import ModelSpec, freezable_stages
freezable_stages(ModelSpec(name={name!r}))
assert "torch._dynamo" not in sys.modules
"""


def test_counting_the_stages_of_any_network_does_not_import_the_compiler():
    """Every command that reads a study file counts them; the import alone takes over a second."""
    program = "".join(COUNT.format(name=name) for name in MODELS)
    subprocess.run([sys.executable, "-c", program], check=True)
