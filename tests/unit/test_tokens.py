"""Tokens as a person reads them: nothing invisible, nothing replaced."""

from __future__ import annotations

import unicodedata
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tests.tiny import tokenizer
from visit_widget.model.tokens import token_shown, token_texts, visible


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"cat", "cat"),
        (b" cat", "␣cat"),
        (b"cat ", "cat␣"),
        (b"New York", "New York"),
        (b"a  b", "a␣␣b"),
        (b"   ", "␣␣␣"),
        (b"\n", "⏎"),
        (b"\n\n", "⏎⏎"),
        (b"\t", "⇥"),
        (b"\r\n", "\\x0d⏎"),
        (b"\x00", "\\x00"),
        (b"\x7f", "\\x7f"),
        (b"\x1b[0m", "\\x1b[0m"),
        ("é".encode(), "é"),
        ("東京".encode(), "東京"),
        ("🗼".encode(), "🗼"),
        ("東".encode()[:2], "\\xe6\\x9d"),
        ("東".encode()[1:], "\\x9d\\xb1"),
        (b" \xf0\x9f", "␣\\xf0\\x9f"),
        (b"\xff", "\\xff"),
        ("\ufffd".encode(), "\\xef\\xbf\\xbd"),
        ("\u200b".encode(), "\\xe2\\x80\\x8b"),
        ("\u200d".encode(), "\\xe2\\x80\\x8d"),
        ("\ufeff".encode(), "\\xef\\xbb\\xbf"),
        ("\u202e".encode(), "\\xe2\\x80\\xae"),
        ("\u2028".encode(), "\\xe2\\x80\\xa8"),
        ("\u0085".encode(), "\\xc2\\x85"),
        ("\u00a0".encode(), "\\u00a0"),
        ("\u3000".encode(), "\\u3000"),
        ("a\u2009b".encode(), "a\\u2009b"),
        ("\ue000".encode(), "\\xee\\x80\\x80"),
        ("\u0301".encode(), "◌\u0301"),
        ("e\u0301".encode(), "e\u0301"),
        (b"<b>&amp;</b>", "<b>&amp;</b>"),
        (b"\\x41", "\\x41"),
        (b"", ""),
    ],
)
def test_bytes_are_shown(raw, shown):
    assert visible(raw) == shown


@given(st.binary(max_size=8))
def test_whatever_the_bytes_nothing_is_invisible_or_replaced(raw):
    shown = visible(raw)
    assert "\ufffd" not in shown
    shown.encode()  # no lone surrogate: it can travel as JSON
    assert not shown or (not shown[0].isspace() and not shown[-1].isspace())
    assert all(c.isprintable() for c in shown)
    assert bool(shown) == bool(raw)


def test_byte_level_pieces_are_their_bytes():
    ids = tokenizer()("the cat\n\té東\x00", add_special_tokens=False)["input_ids"]
    shown = token_texts(tokenizer(), ids)
    assert shown[:2] == ["the", "␣cat"]
    assert shown[2:4] == ["⏎", "⇥"]
    assert "".join(shown[4:]) == "\\xc3\\xa9\\xe6\\x9d\\xb1\\x00"


def test_every_token_of_a_byte_level_tokenizer_is_readable():
    texts = token_texts(tokenizer(), list(range(len(tokenizer()))))
    assert len(set(texts)) == len(texts), "no two look alike"
    assert not any("\ufffd" in t or "Ġ" in t or not t for t in texts)


def test_special_tokens_are_shown_as_written():
    assert token_texts(tokenizer(), [tokenizer().eos_token_id]) == ["<|end|>"]


def test_added_tokens_are_text_and_not_byte_pieces():
    from tests.conftest import word_tokenizer

    fresh = word_tokenizer()
    fresh.add_tokens(["é", AddedToken("  ", normalized=False), "<tool call>"])
    ids = fresh.convert_tokens_to_ids(["é", "  ", "<tool call>"])
    assert token_texts(fresh, ids) == ["é", "␣␣", "<tool call>"]


def test_without_a_tokenizer_ids_are_shown():
    assert token_texts(None, [0, 17]) == ["#0", "#17"]


def test_ids_that_the_tokenizer_does_not_know_are_shown_as_ids():
    """Models often pad their vocabulary beyond the tokenizer's."""
    assert token_texts(tokenizer(), [10**6]) == ["#1000000"]


@cache
def sentencepiece() -> PreTrainedTokenizerBase:
    """Pieces as Llama 2 has them."""
    pieces = [
        "<unk>",
        "<s>",
        "▁",
        "▁the",
        "▁cat",
        "cat",
        "s",
        "▁▁",
        "<0x0A>",
        "<0xE6>",
        "東",
        "a▁b",
    ]
    inner = Tokenizer(models.WordLevel({p: i for i, p in enumerate(pieces)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", bos_token="<s>")


def test_sentencepiece_pieces():
    texts = token_texts(sentencepiece(), list(range(12)))
    assert texts == [
        "<unk>", "<s>", "␣", "␣the", "␣cat", "cat", "s", "␣␣", "⏎", "\\xe6", "東", "a b",
    ]  # fmt: skip


def word_level(pieces: list[str]) -> PreTrainedTokenizerBase:
    inner = Tokenizer(models.WordLevel({p: i for i, p in enumerate(pieces)}, unk_token=pieces[0]))
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token=pieces[0])


def test_word_end_marks_are_spaces():
    assert token_texts(word_level(["<unk>", "cat</w>", "ca"]), [1, 2]) == ["cat␣", "ca"]


def test_plain_pieces_stay():
    assert token_texts(word_level(["<unk>", "cat", "##s", "é"]), [1, 2, 3]) == ["cat", "##s", "é"]


def test_two_tokenizers_are_not_confused():
    """How pieces are written is remembered by tokenizer."""
    assert token_texts(sentencepiece(), [3]) == ["␣the"]
    assert token_texts(tokenizer(), tokenizer()(" the")["input_ids"]) != []
    assert token_texts(word_level(["<unk>", "Ã©"]), [1]) == ["Ã©"]
    assert token_texts(sentencepiece(), [3]) == ["␣the"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\ufe0f", "\\ufe0f"),
        ("❤\ufe0f", "❤\ufe0f"),
        (" \ufe0f", "␣\\ufe0f"),
        ("\u3164", "\\u3164"),
        ("\u2800", "\\u2800"),
        ("\u115f", "\\u115f"),
        ("\u034f", "\\u034f"),
        ("\U000e0100", "\\U000e0100"),
        ("\U0001f469\u200d\U0001f52c", "\U0001f469\u200d\U0001f52c"),
        ("\u0e31", "◌\u0e31"),
        ("\u0903", "◌\u0903"),
        ("␣", "\\u2423"),
        ("⏎", "\\u23ce"),
        ("\\u2423", "\\u005cu2423"),
    ],
)
def test_nothing_is_drawn_as_nothing(text, shown):
    assert visible(text.encode()) == shown


@given(st.binary(max_size=12))
def test_whatever_a_token_is_something_is_seen(raw):
    shown = visible(raw)
    assert bool(shown) == bool(raw)
    for at, char in enumerate(shown):
        category = unicodedata.category(char)
        joined = char == "\u200d" and 0 < at < len(shown) - 1
        assert joined or category not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        assert char not in "\u3164\u2800\u115f\u1160\uffa0\u034f"
    assert shown.strip("\ufe0f\u200d ") or not raw


PIECES = st.one_of(st.binary(max_size=6), st.text(max_size=4).map(lambda t: t.encode()))


@given(st.lists(PIECES, min_size=2, max_size=8, unique=True))
def test_no_two_tokens_are_shown_alike(pieces):
    assert len({visible(piece) for piece in pieces}) == len(pieces)


@pytest.mark.demo
def test_what_is_shown_means_that_very_token(demo):
    _, tokenizer = demo
    n = len(tokenizer)
    texts = token_texts(tokenizer, list(range(n)))
    assert len(set(texts)) == n
    assert all(token_shown(tokenizer, text, n) == i for i, text in enumerate(texts))


def unigram(pieces: list[str], decoder, **more) -> PreTrainedTokenizerBase:
    inner = Tokenizer(models.WordLevel({p: i for i, p in enumerate(pieces)}, unk_token=pieces[0]))
    inner.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token=pieces[0], **more)


def bytes_beside_characters():
    pieces = ["<unk>", *(f"<0x{b:02X}>" for b in range(0x20, 0x60)), "▁", "A", "▁the", "the"]
    return unigram(pieces, decoders.Metaspace())


def words_that_are_numbers():
    return word_level(["<unk>", "#5", "a", "b", "#9", "#0", "#5#5", "\u200b#9"])


def added_beside_words():
    made = unigram(["<unk>", "Ġhi", "ĠĠ", "hi"], decoders.ByteLevel())
    made.add_tokens([AddedToken(" hi", normalized=False), AddedToken("  ", normalized=False)])
    return made


def spaces_of_two_kinds():
    return unigram(["<unk>", "▁a", " a", "▁", " "], decoders.Metaspace())


def special_that_is_not_seen():
    marks = ["\u3164", "\ufe0f", "\u2800", "\u0301"]
    made = word_level(["<unk>", "a"])
    made.add_special_tokens({"additional_special_tokens": marks})
    return made


class Characters:
    """Only encodes and decodes, knows fewer tokens than the model, and equals everything."""

    def encode(self, text):
        return [ord(c) - 97 for c in text]

    def decode(self, ids):
        return "".join(chr(97 + i % 20) if i < 26 else "" for i in ids)

    def __eq__(self, other):
        return True

    __hash__ = None


class Panic(BaseException):
    """As tiktoken raises past its end: no Exception."""


class Bytes:
    n_vocab = 5

    def encode(self, text, allowed_special=()):
        return [0, 1]

    def decode_single_token_bytes(self, token):
        if token >= self.n_vocab:
            raise Panic("no such token")
        return b"ab\xe6 \n"[token : token + 1]


LIKE = {
    f.__name__: f
    for f in (
        bytes_beside_characters, words_that_are_numbers, added_beside_words, spaces_of_two_kinds,
        special_that_is_not_seen, Characters, Bytes, tokenizer, sentencepiece,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", LIKE)
def test_each_token_is_seen_has_its_own_text_and_is_meant_by_it(name):
    made, n_vocab = LIKE[name](), 97
    texts = token_texts(made, range(n_vocab), n_vocab)
    assert len(set(texts)) == n_vocab
    assert [token_shown(made, text, n_vocab) for text in texts] == list(range(n_vocab))
    assert all(text.strip("\ufe0f\u200d ") for text in texts)
    assert token_texts(made, [3, n_vocab - 1], n_vocab) == [texts[3], texts[-1]]


def test_a_text_is_the_token_that_texts_are_read_as():
    made = bytes_beside_characters()
    assert token_shown(made, "A", 97) == made.convert_tokens_to_ids("A")
    assert token_shown(made, "␣", 97) == made.convert_tokens_to_ids("▁")
    assert token_shown(words_that_are_numbers(), "#5", 97) == 1


def test_how_pieces_are_spelled_is_what_the_decoder_says():
    """Not what a few of them look like: Ġ is a letter of Maltese, and Ã one of Portuguese."""
    made = unigram(["<unk>", "▁Ġie", "Ã©", "▁cat"], decoders.Metaspace())
    assert token_texts(made, [1, 2, 3]) == ["␣Ġie", "Ã©", "␣cat"]
    assert token_texts(unigram(["<unk>", "Ã©"], decoders.ByteLevel()), [1]) == ["é"]
    llama2 = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    assert token_texts(unigram(["<unk>", "▁a", "<0x0A>"], llama2), [1, 2]) == ["␣a", "⏎"]
    assert token_texts(unigram(["<unk>", "<0x0A>"], decoders.WordPiece()), [1]) == ["<0x0A>"]


def test_tokens_added_later_are_read():
    made = word_level(["<unk>", "a"])
    assert token_texts(made, [2], 4) == ["#2"]
    made.add_tokens(["new"])
    assert token_texts(made, [2], 4) == ["new"]
