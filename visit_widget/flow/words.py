"""Numbers and tokens as a sentence has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .elements import Node

if TYPE_CHECKING:
    from .graph import FlowGraph


def quoted(text: str) -> str:
    """A token in quotation marks."""
    return f"“{text}”"


def number(value: float) -> str:
    """Two decimals, or two digits where that would be 0; with a true minus sign."""
    text = f"{value:,.2f}" if value == 0 or abs(value) >= 0.005 else f"{value:.2g}"
    return text.replace("-", "−")


def rounding_of(node_id: str) -> str:
    """What a rounding node is."""
    whole = node_id.removesuffix(".rounding").rpartition(".")[2]
    added = {
        "attn": "what its attention writes",
        "mlp": "what its MLP writes",
        "mid": "the stream after its attention",
        "post": "the stream after it",
    }
    if whole == "logits":
        return "What rounding to half precision added after the last stream"
    layer = next(p for p in node_id.split(".") if p.startswith("L"))[1:]
    return f"What rounding to half precision added to {added[whole]} (layer {layer})"


def signed(value: float) -> str:
    """As `number`, with a plus sign where it is positive."""
    return f"+{number(value)}" if value > 0 else number(value)


def percent(value: float) -> str:
    """A fraction in percent: whole percents, finer next to 0 and 100; never 0 % of something."""
    size = abs(100 * value)
    if size == 0:
        text = "0"
    elif size < 0.01:
        return "less than 0.01 % in size" if value < 0 else "less than 0.01 %"
    elif size < 1 or 99 < size < 101:
        text = f"{100 * value:.2g}" if size < 1 else f"{100 * value:.1f}"
    else:
        text = f"{100 * value:.0f}"
    return f"{text.removesuffix('.0')} %".replace("-", "−")


def listed(texts: list[str]) -> str:
    """a, b and c."""
    if len(texts) < 2:
        return "".join(texts)
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


# What a part does with its token, under a lens: of one, of several, and how much of it.
_DOES = {"local": ("raises", "raise", " most"), "jacobian": ("leads to", "lead to", "")}


def says(node: Node, lens: str, plural: bool = False) -> str:
    """What a part does with the token of its label: writes it, or what its lens reads instead.

    Args:
        node: with a label.
        lens: the name of the graph's lens, which a local lens reads no other parts with.
        plural: whether the part is several.
    """
    reader = "local" if node.unit == "nats" else "logit" if lens == "local" else lens
    one, many, most = _DOES.get(reader, ("writes", "write", ""))
    return f"{many if plural else one} {quoted(node.label or '')}{most}"


def followed_logit(graph: FlowGraph) -> str:
    """What all logits of a graph are of: a token's, several tokens', a direction's."""
    told = _value(graph.target)
    return told if graph.foil is None else f"{told} minus {_value(graph.foil, that=True)}"


def without(graph: FlowGraph, effect: float, subject: str = "it") -> str:
    """What an effect says: how the followed logit would change without something."""
    change = f"{'fall' if effect > 0 else 'rise'} by {number(abs(effect))}" if effect else "stay"
    return f"Without {subject}, to first order, {followed_logit(graph)} would {change}."


def _value(target: dict[str, Any], that: bool = False) -> str:
    name = quoted(target["text"])
    if target.get("combine") == "direction":
        return f"what the stream says along {name}"
    return f"that of {name}" if that else f"the logit of {name}"
