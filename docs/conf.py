"""Sphinx configuration: pages are MyST Markdown, the reference comes from the docstrings."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "litestar-filestore"
author = "The litestar-filestore developers"
copyright = f"2026, {author}"
release = version_of("litestar-filestore")
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "benchmarks", "decisions/0000-template.md"]  # benchmarks: parts of performance.md
templates_path: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3  # links to headings, as GitHub makes them: page.md#some-heading

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = True

html_theme = "shibuya"
html_title = project
html_theme_options = {
    "accent_color": "blue",
    "nav_links": [
        {"title": "Features", "url": "features/index"},
        {"title": "Reference", "url": "reference"},
        {"title": "Changelog", "url": "changelog"},
    ],
}
html_static_path = ["_static"]
html_css_files = ["code.css"]
html_copy_source = False
copybutton_prompt_text = r"\$ |>>> "  # shell prompts are not part of what a reader copies
copybutton_prompt_is_regexp = True
