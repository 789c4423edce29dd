"""Builds the documentation site into build/docs/site: `make docs`.

    docs/*.md                    pages as they are
    docs/live/NAME.md            its Python is run, and leaves the live page NAME.html
    api/*.md                     made of docstrings (api_pages.py)

Beside each page stands its Markdown, with `llms.txt` as their list. Nothing in the site comes from
elsewhere, and all of it works from files as well as from a server.

The live pages are read with the Jacobian lens, which is fitted first where it has not been (some
minutes); `--quick` reads them with the local lens, and the words are others.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import api_pages

ROOT = Path(__file__).parents[1]
# What pages of the site link to beside docs/, at the same place relative to it.
BESIDE = (
    "notebooks",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "AGENTS.md",
    "CITATION.cff",
    "LICENSE",
)
LARGEST_FRAME, LARGEST_SITE = 2_000_000, 20_000_000
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LIVE = re.compile(r"^```\{live\} (\w[\w-]*): (.*)\n```$", re.MULTILINE)
_TREE = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main() -> int:
    """Build everything."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs")
    parser.add_argument("--quick", action="store_true", help="do not fit a lens")
    parser.add_argument("--only", help="live pages to make, with commas; the others are missing")
    options = parser.parse_args()
    out: Path = options.out.resolve()
    start = time.perf_counter()
    sources = staged(out)
    site = out / "site"
    shutil.rmtree(site, ignore_errors=True)
    status = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html",
         "-d", out / "doctrees", sources, site],
        check=False,
    )  # fmt: skip
    if status.returncode:
        print("Sphinx found faults in the pages: see above.", file=sys.stderr)
        return 1
    count = write_markdown(sources, site)
    frames(sources, site / "live" / "frames", options.quick, options.only)
    size = sum(file.stat().st_size for file in site.rglob("*") if file.is_file())
    seconds = time.perf_counter() - start
    print(f"{site / 'index.html'}: {count} pages, {size / 1e6:.1f} MB, {seconds:.0f} s")
    if size > LARGEST_SITE:
        print(f"The site is larger than {LARGEST_SITE / 1e6:.0f} MB.", file=sys.stderr)
        return 1
    return 0


def staged(out: Path) -> Path:
    """The folder that Sphinx reads: docs/ with the pages that are made, and what lies beside it."""
    tree = out / "source"
    shutil.rmtree(tree, ignore_errors=True)
    sources = tree / "docs"
    shutil.copytree(ROOT / "docs", sources, ignore=shutil.ignore_patterns("__pycache__"))
    init = Path("visit_widget", "__init__.py")  # the version is read off it
    for name in (*BESIDE, init):
        source, target = ROOT / name, tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        elif source.is_file():
            shutil.copy(source, target)
    api_pages.write(sources / "api")
    list_all(sources)
    return sources


def list_all(sources: Path) -> None:
    """Add pages of docs/ that no list names to the last list of the first page."""
    index = sources / "index.md"
    text = _text(index)
    unnamed = sorted(page.name for page in sources.glob("*.md") if f"\n{page.name}\n" not in text)
    unnamed.remove(index.name)
    head, fence, tail = text.rpartition("```")
    more = "".join(f"{name}\n" for name in unnamed)
    index.write_text(f"{head}{more}{fence}{tail}", encoding="utf-8")


def frames(sources: Path, folder: Path, quick: bool, only: str | None) -> None:
    """Run what the pages of docs/live say; each saves the page of its name."""
    import visit_widget as vw

    folder.mkdir(parents=True, exist_ok=True)
    model, tokenizer = vw.load_demo()
    if not quick:
        # Kept: at once where it was fitted before.
        vw.visit(model, tokenizer, "Hello", lens="jacobian").close()
    wanted = {name for page in sources.rglob("*.md") for name, _ in _LIVE.findall(_text(page))}
    for page in sorted((sources / "live").glob("*.md")):
        if page.stem == "index":
            continue
        if only and page.stem not in only.split(","):
            wanted.discard(page.stem)
            continue
        file = made(page, folder, {"vw": vw, "model": model, "tokenizer": tokenizer})
        wanted.discard(page.stem)
        print(f"live/{file.name} ({file.stat().st_size // 1000} kB)")
        if file.stat().st_size > LARGEST_FRAME:
            raise SystemExit(f"{file.name} is larger than {LARGEST_FRAME // 1000} kB: save less.")
    if wanted:
        raise SystemExit(f"No page of docs/live makes {', '.join(sorted(wanted))}.")


def made(page: Path, folder: Path, given: dict[str, Any]) -> Path:
    """The live page that a page's Python saves.

    Args:
        page: the Markdown.
        folder: where it is saved.
        given: names that the code may use.
    """
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            for code in _PYTHON.findall(_text(page)):
                exec(compile(code, str(page), "exec"), given)
        finally:
            os.chdir(here)
        saved = Path(scratch, f"{page.stem}.html")
        if not saved.is_file():
            raise SystemExit(f"{page.name} saves no {saved.name}: its code has to.")
        return Path(shutil.move(saved, folder / saved.name))


def write_markdown(sources: Path, site: Path) -> int:
    """Put the Markdown of each page beside it, without what only Sphinx understands."""
    listed = ["# visit_widget", "", "Every page of this site as Markdown:", ""]
    pages = sorted(sources.rglob("*.md"), key=lambda page: (len(page.parts), page))
    for page in pages:
        name = page.relative_to(sources)
        text = plain(_text(page), up="../" * (len(name.parts) - 1), folder=page.parent)
        (site / name).write_text(text, encoding="utf-8")
        listed.append(f"- [{title_of(page)}]({name.as_posix()})")
    (site / "llms.txt").write_text("\n".join(listed) + "\n", encoding="utf-8")
    # What their links lead to, at the same place.
    shutil.copytree(sources / "images", site / "images", dirs_exist_ok=True)
    shutil.copy(sources / "schema.json", site)
    return len(pages)


def plain(text: str, up: str, folder: Path) -> str:
    """Directives as ordinary Markdown."""

    def tree(found: re.Match[str]) -> str:
        names = [line for line in found[1].splitlines() if line.endswith(".md")]
        return "\n".join(f"- [{title_of(folder / name)}]({name})" for name in names)

    text = _TREE.sub(tree, text)
    return _LIVE.sub(lambda found: f"[{found[2]}]({up}live/frames/{found[1]}.html)", text)


def title_of(page: Path) -> str:
    """A page's first heading."""
    return next(
        line.removeprefix("# ") for line in _text(page).splitlines() if line.startswith("# ")
    )


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
