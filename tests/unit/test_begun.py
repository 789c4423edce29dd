"""Which tokens of a prompt begin a word that is sure."""

from __future__ import annotations

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import visit_widget as vw
from tests.tiny import make_model
from visit_widget.flow.begun import begun_words
from visit_widget.flow.build import Painter
from visit_widget.flow.detail import details
from visit_widget.model.tokens import token_texts


def words(pieces: list[str], prompt: str, special: set[str] | None = None) -> dict[str, str]:
    """{piece: word}, of pieces that each are a token of their own."""
    ids = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    found = begun_words([ids[p] for p in pieces], pieces, prompt, {ids[p] for p in special or ()})
    return {piece: found[number] for piece, number in ids.items() if number in found}


@pytest.mark.parametrize(
    ("pieces", "found"),
    [
        (["The", "␣Witt", "gen", "stein", "␣is"], {"␣Witt": "␣Wittgenstein"}),
        (["␣Jap", "an", ".", "␣Jap", "an", ","], {"␣Jap": "␣Japan"}),
        # Elsewhere the same token begins another word, is one itself, or goes on with one.
        (["␣Jap", "an", ".", "␣Jap", "anese", ","], {}),
        (["␣Jap", "an", ".", "␣Jap", ","], {}),
        (["␣redo", "do", ".", "⏎", "do", "do", "."], {"␣redo": "␣redodo"}),
        # Words without a space before them.
        (["“", "Jap", "an", "”", "."], {"Jap": "Japan"}),
        (["Jap", "an", "␣is"], {"Jap": "Japan"}),
        # At the end it may go on.
        (["␣in", "␣Jap", "an"], {}),
        (["␣in", "␣Jap"], {}),
        # Numbers, names in code, what is spelled out.
        (["␣foo", "bar", "_", "baz", "."], {}),
        (["␣foo", "bar", "1", "."], {}),
        (["_", "foo", "bar", "."], {}),
        (["3", "foo", "bar", "."], {}),
        (["␣caf", "fe", "\\xc3", "\\xa9", "."], {}),
        (["␣ca", "fe", "\\xcc", "\\x81", "."], {}),
        (["␣ca", "fe", "◌\u0301", "."], {}),
        (["\\xc3", "\\xa9", "ta", "ge", "."], {}),
        # Scripts without spaces, alone and beside others.
        (["東京", "は", "。"], {}),
        (["␣Tok", "yo", "市", "。"], {}),
        (["␣Tok", "市", "。"], {}),
        (["กรง", "เทพ", "␣is"], {}),
        (["␣До", "стоев", "ский", "."], {"␣До": "␣Достоевский"}),
        # One letter begins too many.
        (["␣E", "spaña", "."], {}),
        # Ends of words that are spelled.
        (["jap", "an␣", "is␣"], {"jap": "japan␣"}),
    ],
)
def test_a_word_is_told_where_it_is_sure(pieces, found):
    assert words(pieces, "".join(pieces).replace("␣", " ").replace("⏎", "\n")) == found


def test_special_tokens_are_no_part_of_words():
    pieces = ["BOS", "ass", "istant", "END", "hel", "lo", "."]
    found = words(pieces, "assistant hello.", {"BOS", "END"})
    assert found == {"ass": "assistant", "hel": "hello"}


def test_pieces_that_are_words_of_their_own_are_not_joined():
    assert words(["the", "capital", "of", "."], "the capital of.") == {}


@pytest.mark.demo
@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text("abcdefgh ABCD", max_size=12),
            st.text(max_size=5),
            st.sampled_from(["Wittgenstein ", "Czechoslovakian, ", "_x", " 東京", "é", "\u0301"]),
        ),
        max_size=8,
    )
)
def test_the_prompt_goes_on_so_wherever_the_token_stands(demo, parts):
    tokenizer, prompt = demo[1], "".join(parts)
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    found = begun_words(ids, token_texts(tokenizer, ids), prompt)
    for token, word in found.items():
        own = word.replace("␣", " ")
        for at in (at for at, each in enumerate(ids) if each == token):
            after = tokenizer.decode(ids[at:])
            assert after.startswith(own)
            assert not after[len(own)].isalnum()
            assert after[len(own)] != "_"


def test_a_tokenizer_that_does_not_say_where_spaces_are():
    vocabulary = {"[UNK]": 0, "witt": 1, "##gen": 2, "the": 3, "capital": 4, ".": 5}
    inner = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    fast = PreTrainedTokenizerFast(tokenizer_object=inner)
    ids = fast("the capital wittgen .")["input_ids"]
    assert len(ids) == 5
    assert begun_words(ids, token_texts(fast, ids), fast.decode(ids)) == {}


@pytest.mark.demo
def test_tokens_of_a_graph_and_of_a_panel_carry_their_words(demo):
    trace = vw.trace(*demo, "Ludwig Wittgenstein wrote of language. His name was Ludwig")
    texts = trace.texts(trace.input_ids.tolist())
    graph = trace.flow(lens="logit")
    assert graph.target["text"] == "␣Witt"
    assert graph.node("L29.post").label == "␣Witt"
    tokens = [token for node in graph.nodes for token in (*node.top, *node.bottom)]
    told = [token for token in tokens if token["text"] == "␣Witt"]
    assert {token["word"] for token in told} == {"␣Wittgenstein"}
    assert not [t for t in tokens if "word" in t and t["text"] not in texts]
    assert graph.from_json(graph.to_json()) == graph
    jsonschema.validate(graph.to_dict(), graph.schema())
    panel = details(Painter(trace, lens="logit"), ["L29.post"])["L29.post"]
    assert panel["top"][0]["word"] == "␣Wittgenstein"


def test_without_a_tokenizer_there_are_no_words():
    trace = vw.trace(make_model("llama"), None, [1, 2, 3, 4])
    assert not [token for node in trace.flow().nodes for token in node.top if "word" in token]
