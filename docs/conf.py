"""How Sphinx builds these pages: `make docs`, or `sphinx-build -W -b html docs build/docs`."""

from __future__ import annotations

import sys
from pathlib import Path

from dsmsim import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "dsmsim"
author = "The dsmsim developers"
copyright = "The dsmsim developers"
release = version = __version__

extensions = ["myst_parser", "mathml", "reference", "sphinx.ext.doctest", "sphinx_copybutton"]
exclude_patterns = ["examples/*.md"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nitpicky = True

html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"dsmsim {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False

# what the reader types, without the prompt
copybutton_prompt_text = "$ "

doctest_global_setup = """
import os
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["DSMSIM_CACHE"] = "off"
"""
