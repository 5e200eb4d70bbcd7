"""How Sphinx builds the documentation; `make docs` runs it with warnings as errors."""

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

from ecgopt import __version__

logging.getLogger("alembic").setLevel(logging.WARNING)  # autodoc imports all; it tells of plug-ins

project = "ecgopt"
author = "the ecgopt authors"
copyright = "the ecgopt authors, Apache-2.0"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
exclude_patterns = ["extensions"]

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 4

# Docstrings write code in single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_static_path = ["theme"]
html_css_files = ["site.css"]
html_title = "ecgopt"
html_show_sphinx = False
html_copy_source = False
