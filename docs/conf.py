"""The documentation site: Sphinx on the Markdown of this folder. `make docs` builds it
(scripts/docs.py).
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from pygments.lexers.javascript import JavascriptLexer
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_INIT = Path(__file__).parents[1] / "visit_widget" / "__init__.py"

project = "visit_widget"
author = "The visit-widget authors"
project_copyright = author
release = re.findall(r'^__version__ = "(.+)"', _INIT.read_text(encoding="utf-8"), re.MULTILINE)[0]
version = release

extensions = ["myst_parser", "sphinx_copybutton"]
myst_heading_anchors = 4  # as GitHub names them, so that one link serves both
myst_links_external_new_tab = False
copybutton_exclude = ".linenos, .gp, .go"
exclude_patterns = ["conf.py"]
nitpicky = True
suppress_warnings = ["misc.highlighting_failure"]  # the “…” of examples

html_theme = "furo"
html_title = "visit_widget"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_use_index = False
html_show_search_summary = False  # it would fetch pages, which files may not
html_favicon = "_static/favicon.svg"
html_copy_source = False  # the Markdown stands beside each page instead
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": True,
    "top_of_page_buttons": [],
}
pygments_style = "default"
pygments_dark_style = "github-dark"

_FRAME = """<figure class="live">
<iframe data-live src="{up}live/frames/{name}.html" title="{title}" loading="lazy"
 sandbox="allow-scripts allow-downloads"></iframe>
<figcaption><a href="{up}live/frames/{name}.html">{title}</a>: in a page of its own.</figcaption>
</figure>
"""


class Themed(SphinxTransform):
    """A picture NAME-light.png with a NAME-dark.png beside it is shown as the theme is."""

    default_priority = 200  # before pictures are collected

    def apply(self, **_options: object) -> None:
        """Put the dark one after each light one."""
        folder = Path(self.env.doc2path(self.env.docname)).parent
        for image in list(self.document.findall(nodes.image)):
            dark = str(image["uri"]).replace("-light.png", "-dark.png")
            if dark == image["uri"] or not (folder / dark).is_file():
                continue
            other = image.deepcopy()
            other["uri"] = dark
            image["classes"].append("only-light")
            other["classes"].append("only-dark")
            image.parent.insert(image.parent.index(image) + 1, other)


class Live(Directive):
    """```{live} NAME: what is seen``` shows the page that scripts/docs.py saved under that name."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """The frame."""
        name, _, title = self.arguments[0].partition(": ")
        page = self.state.document.settings.env.docname
        text = _FRAME.format(up="../" * page.count("/"), name=name, title=html.escape(title))
        return [nodes.raw("", text, format="html")]


def _beside(
    app: Sphinx, page: str, _template: str, context: dict[str, object], _tree: object
) -> None:
    """What site.js and the page's head need to name the Markdown of a page."""
    if app.env is not None and page in app.env.all_docs:
        name = page.rsplit("/", 1)[-1]
        link = f'<link rel="alternate" type="text/markdown" href="{name}.md">'
        context["metatags"] = f"{context.get('metatags', '')}{link}"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_directive("live", Live)
    app.add_transform(Themed)
    app.add_lexer("jsonc", JavascriptLexer)
    app.connect("html-page-context", _beside)
