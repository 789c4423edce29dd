"""What a notebook's output holds: the widget, a line of text, and the picture the page draws."""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any

import IPython.display
import pytest

import visit_widget as vw
from tests.tiny import make_speaker, tokenizer
from visit_widget.viewer.output import MOST_BYTES, PNG, TEXT, VIEW

PICTURE = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 2016, 1344) + bytes(20)


def as_url(content: bytes) -> str:
    return f"data:image/png;base64,{b64encode(content).decode()}"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is published, as messages to a notebook."""
    messages: list[dict[str, Any]] = []

    def publish(data: Any, metadata: Any = None, **more: Any) -> None:
        messages.append({"data": data, "metadata": metadata, "update": False, **more})

    monkeypatch.setattr(IPython.display, "publish_display_data", publish)
    return messages


@pytest.fixture(params=["visit", "show"])
def widget(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = vw.visit(make_speaker("llama"), tokenizer(), "the cat sat", target=" mat")
    yield made if request.param == "visit" else vw.show(made.flow())
    made.close()


def send(widget: Any, **params: Any) -> None:
    """As the page does."""
    content = {"kind": "visit-request", "id": "p", "method": "keep_picture", "params": params}
    widget._handle_custom_msg(content, [])


def test_the_picture_comes_to_stand_below_the_widget(widget, told):
    widget._ipython_display_()
    shown, below = told
    assert shown["data"][VIEW]["model_id"] == widget.model_id
    words = (
        "A flow graph of “the cat sat” → “␣mat” in LlamaForCausalLM: run the cell to look into it."
    )
    assert shown["data"][TEXT] == words
    assert PNG not in shown["data"]
    assert below["data"] == {
        VIEW: {**shown["data"][VIEW], "version_minor": 0, "model_id": ""},
        TEXT: "",
    }
    assert widget.picture

    send(widget, png=as_url(PICTURE), scale=1.5)
    (update,) = told[2:]
    assert (update["update"], update["transient"]) == (True, below["transient"])
    assert b64decode(update["data"][PNG]) == PICTURE
    assert update["data"][VIEW]["model_id"] == ""
    assert update["metadata"] == {PNG: {"width": 1344, "height": 896, "alt": words}}
    assert not widget.picture

    # Shown again, it is there at once; drawn again, it is new in both places.
    widget._ipython_display_()
    assert told[-1]["data"][PNG] == update["data"][PNG]
    send(widget, png=as_url(PICTURE + b"new"), scale=1)
    assert [m["transient"] for m in told[-2:]] == [below["transient"], told[-3]["transient"]]
    assert all(b64decode(m["data"][PNG]) == PICTURE + b"new" for m in told[-2:])


def test_without_a_picture_there_is_the_widget_alone(widget, told):
    widget.picture = False
    widget._ipython_display_()
    (shown,) = told
    assert shown["data"][VIEW]["model_id"] == widget.model_id


def test_it_is_an_option_of_visit():
    model, words = make_speaker("gpt2"), tokenizer()
    for picture in (True, False):
        made = vw.visit(model, words, "the cat", picture=picture)
        again = vw.visit(model, words, view_state=made.view_state, picture=picture)
        assert made.picture is picture is again.picture
        made.close()
        again.close()


@pytest.mark.parametrize(
    ("png", "scale", "said"),
    [
        (None, 1, "no data URL"),
        ("data:text/html;base64,PGI+", 1, "no data URL"),
        (as_url(b"<svg onload=alert()>"), 1, "no PNG"),
        (as_url(PICTURE[:20]), 1, "no PNG"),
        ("data:image/png;base64,<b>", 1, "cannot be kept"),
        (as_url(PICTURE + bytes(MOST_BYTES)), 1, "bytes"),
        (as_url(PICTURE + bytes(4 * MOST_BYTES)), 1, "too large"),
        (as_url(PICTURE), 0, "no scale"),
        (as_url(PICTURE), "2", "no scale"),
        (as_url(PICTURE), True, "no scale"),
        (as_url(PICTURE), float("nan"), "no scale"),
    ],
    ids=[
        "none",
        "html",
        "svg",
        "cut",
        "no-base64",
        "large",
        "larger",
        "flat",
        "text",
        "bool",
        "nan",
    ],
)
def test_what_is_no_picture_is_refused(png, scale, said):
    made = vw.visit(make_speaker("gpt2"), tokenizer(), "the cat")
    with pytest.raises(vw.VisitError, match=said):
        made.keep_picture(png, scale)
    assert made.picture
    made.close()
