"""What a widget can be saved as: a page, a frame in a notebook's export, a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..model import VisitError
from ..viewer.line import line
from ..viewer.myst import myst_files
from ..viewer.page import iframe, page, write_whole
from . import chromium
from .figure import check_place, order, picture
from .saved import OF_GENERATIONS, OF_MANY, SAVED, Progress, drawn, saved
from .saved_many import chosen, others
from .sentences import check_view
from .session import Session


class Saving:
    """The part of a widget that writes files of it; none of them changes the widget."""

    _session: Session
    view_state: Any
    generation: Any
    prompts: Any

    def save_html(
        self,
        path: str | os.PathLike[str],
        expand: str | Sequence[int] = "visible",
        progress: Progress | None = None,
        audit: bool = False,
        prompts: str | Sequence[int] = "opened",
    ) -> Path:
        """Write one self-contained page: no network, no kernel, the same interactions over what it
        includes.

        Args:
            path: the file to write.
            expand: "visible" for the layers open now, "all", or a list of layers.
            progress: called with (layers done, layers in all).
            audit: include the audit of the graph on screen, which takes further passes of the
                model; one that the widget was already asked for is included in any case.
            prompts: of many prompts, those that can be opened in the page: "opened" for those that
                were opened here, "all", or a list of their numbers. Each adds to the page what a
                page of it alone would hold, and takes a pass of the model; all of them are shown.

        Returns:
            The path written.

        Raises:
            VisitError: the file cannot be written there, or `expand` names no layers, or `prompts`
                no prompts.
        """
        return _written(Path(path), self._page(expand, progress, audit, prompts))

    def to_iframe(
        self,
        expand: str | Sequence[int] = "visible",
        height: int | None = None,
        audit: bool = False,
        prompts: str | Sequence[int] = "opened",
    ) -> Any:
        """The page of `save_html` as an iframe that survives a notebook's HTML export.

        Args:
            expand: as in `save_html`.
            height: in pixels; by default the frame is as tall as what is in it.
            audit: as in `save_html`.
            prompts: as in `save_html`.
        """
        from IPython.display import HTML

        display_as: Any = HTML
        return display_as(iframe(self._page(expand, None, audit, prompts), height))

    def save_myst(
        self,
        folder: str | os.PathLike[str],
        expand: str | Sequence[int] = "visible",
        progress: Progress | None = None,
        audit: bool = False,
        prompts: str | Sequence[int] = "opened",
    ) -> Path:
        """Write what a MyST site or a Jupyter Book 2 shows the widget with, without a kernel:
        `flow.md`, to be included in a page, and the script and style sheet that it names.

        Args:
            folder: the folder to write to; made if there is none.
            expand: as in `save_html`.
            progress: as in `save_html`.
            audit: as in `save_html`.
            prompts: as in `save_html`.

        Returns:
            The path of `flow.md`.

        Raises:
            VisitError: as `save_html`.
        """
        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VisitError(
                f"Could not write to {place}: {error.strerror or error}. Choose another place."
            ) from error
        written = [
            _written(place / name, content)
            for name, content in myst_files(self._data(expand, progress, audit, prompts)).items()
        ]
        return written[-1]

    def save_svg(
        self,
        path: str | os.PathLike[str],
        *,
        theme: str = "light",
        width: int = 1008,
        view: str | None = None,
        layers: Sequence[int] | None = None,
        browser: str | os.PathLike[str] | None = None,
        timeout: float = 60,
    ) -> Path:
        """Write the whole figure as an SVG: the prompt, the graph and its key, as the browser's
        own export writes them. It is drawn by a browser of this machine, without a window.

        Args:
            path: the file to write.
            theme: "light" or "dark".
            width: pixels of the page that it is drawn for; a graph that needs more gets more.
            view: "block" or "routes"; the one shown now by default.
            layers: layers to show open; those open now by default.
            browser: path of a Chromium-family browser; by default one is looked for.
            timeout: seconds that the browser may take.

        Returns:
            The path written.

        Raises:
            VisitError: there is no browser, an argument cannot be used, the file cannot be written
                there, or the browser failed; the message says what to do.
        """
        how = {**order(theme, width), "format": "svg"}
        return self._picture(Path(path), how, view, layers, browser, timeout)

    def save_png(
        self,
        path: str | os.PathLike[str],
        *,
        theme: str = "light",
        width: int = 1008,
        scale: float = 2,
        view: str | None = None,
        layers: Sequence[int] | None = None,
        browser: str | os.PathLike[str] | None = None,
        timeout: float = 60,
    ) -> Path:
        """Write the figure of `save_svg` as a PNG of `scale` pixels per pixel of the page.

        Raises:
            VisitError: as `save_svg`, or the picture is too large for the browser.
        """
        how = {**order(theme, width, scale), "format": "png"}
        return self._picture(Path(path), how, view, layers, browser, timeout)

    def _picture(
        self,
        target: Path,
        how: dict[str, Any],
        view: str | None,
        layers: Sequence[int] | None,
        browser: str | os.PathLike[str] | None,
        timeout: float,
    ) -> Path:
        traits = self._traits_now()
        if view is not None:
            traits["view"] = check_view(view)
        # What is wrong with the arguments is said before the work is done.
        check_place(target)
        program = chromium.find(browser)
        data = drawn(self._session, traits, layers)
        return _written(target, picture(data, how, program, timeout))

    def _traits_now(self) -> dict[str, Any]:
        left_out = [
            *(OF_GENERATIONS if self.generation is None else ()),
            *(OF_MANY if self.prompts is None else ()),
        ]
        return {name: getattr(self, name) for name in SAVED if name not in left_out}

    def _data(
        self,
        expand: str | Sequence[int],
        progress: Progress | None,
        audit: bool,
        prompts: str | Sequence[int] = "opened",
    ) -> dict[str, Any]:
        session, traits = self._session, self._traits_now()
        numbers = chosen(session, prompts)
        if self.prompts is not None:
            drawn_now = session.many.now
            traits["prompts"] = {
                **traits["prompts"], "included": sorted({drawn_now, *numbers})
            }  # fmt: skip
        data = saved(session, traits, expand, progress, audit, self.view_state)
        if numbers:
            data["many"] = others(session, traits, numbers, expand, progress)
        return data

    def _page(
        self,
        expand: str | Sequence[int],
        progress: Progress | None,
        audit: bool,
        prompts: str | Sequence[int] = "opened",
    ) -> str:
        data = self._data(expand, progress, audit, prompts)
        name = line(data["traits"]["prompt"], 120)
        if self.prompts is not None:
            name = f"{len(self.prompts['rows'])} prompts"
        return page(f"{name} – visit_widget", data)


def _written(target: Path, content: str | bytes) -> Path:
    try:
        write_whole(target, content if isinstance(content, bytes) else content.encode("utf-8"))
    except OSError as error:
        raise VisitError(
            f"Could not write {target}: {error.strerror or error}. Choose another place."
        ) from error
    return target
