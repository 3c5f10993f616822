"""The documentation site: Sphinx over the repository's Markdown pages, as they lie there.

    sphinx-build -W --keep-going -c docs . site

The source folder is the repository, so that a link works on the site as it does on a code host.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from posebench import __version__

project = "posebench"
author = "the posebench developers"
copyright = f"2026 {author}"
version = release = __version__
root_doc = "docs/index"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.githubpages",
    "site_parts",
]
source_suffix = {".md": "markdown", ".ipynb": "notebook"}
include_patterns = [
    "docs/**",
    "*.md",
    "leaderboards/*.md",
    "victims/weights/*.md",
]
exclude_patterns = ["site", "build", ".venv", "runs"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_use_ivar = True  # a dataclass's fields are described once

html_theme = "furo"
html_title = f"posebench {version}"
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
