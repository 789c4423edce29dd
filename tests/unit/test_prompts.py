"""Prompts as people have them: what a tokenizer gives, padded rows, chats, edited texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import visit_widget as vw

WORDS = ["<unk>", "<s>", "</s>", "<pad>", "the", "cat", "ran", "dog", "<user>", "<bot>"]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %} {{ '<user>' if m.role == 'user' else '<bot>' }} "
    "{{ m.content }}{% endfor %}{% if add_generation_prompt %} <bot>{% endif %}"
)


def words(pad="<pad>", template=TEMPLATE, bos="<s>", **more):
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if bos:
        inner.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, WORDS.index(bos))]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token=bos, eos_token="</s>", pad_token=pad,
        chat_template=template, additional_special_tokens=["<user>", "<bot>"], **more,
    )  # fmt: skip


def llama(**changes):
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 16, "pad_token_id": None,
    }  # fmt: skip
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**sizes, **changes})).eval()


@pytest.fixture(scope="module")
def model():
    return llama()


def ids_of(trace):
    return trace.input_ids.tolist()


FORMS = {
    "a list": [1, 4, 5],
    "a tuple": (1, 4, 5),
    "an array": np.array([1, 4, 5], dtype=np.int32),
    "a row of a tensor": torch.tensor([[1, 4, 5]], dtype=torch.int16),
    "a mapping": {"input_ids": [1, 4, 5]},
    "a mapping with a mask": {"input_ids": [[3, 1, 4, 5]], "attention_mask": [[0, 1, 1, 1]]},
    "an encoding": transformers.BatchEncoding({"input_ids": [1, 4, 5]}),
    "a text": "the cat",
}


@pytest.mark.parametrize("form", FORMS)
def test_one_prompt_in_every_form(model, form):
    assert ids_of(vw.trace(model, words(), FORMS[form])) == [1, 4, 5]


@pytest.mark.parametrize("tensors", [None, "pt", "np"])
def test_what_a_tokenizer_gives(model, tensors):
    tokenizer = words()
    given = tokenizer(["the cat"], return_tensors=tensors)
    assert ids_of(vw.trace(model, tokenizer, given)) == [1, 4, 5]
    assert ids_of(vw.visit(model, tokenizer, given).trace) == [1, 4, 5]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("masked", [True, False])
def test_a_padded_row_is_traced_without_its_padding(model, side, masked):
    tokenizer = words(padding_side=side)
    batch = tokenizer(["the cat ran the dog", "the dog"], padding=True, return_tensors="pt")
    row = {"input_ids": batch["input_ids"][1]}
    if masked:
        row["attention_mask"] = batch["attention_mask"][1]
    trace = vw.trace(model, tokenizer, row)
    with torch.no_grad():
        whole = model(**batch).logits[1]
    last = whole[-1] if side == "left" else whole[2]
    assert ids_of(trace) == [1, 4, 7]
    torch.testing.assert_close(trace.logits(), last, rtol=1e-4, atol=1e-5)
    assert trace.notes == ("3 tokens of padding were left out of the prompt.",)


def test_a_mask_as_an_argument(model):
    trace = vw.trace(model, None, [0, 0, 4, 5], attention_mask=[0, 0, 1, 1])
    assert ids_of(trace) == [4, 5]


def test_one_token_that_may_start_a_text_is_no_padding(model):
    tokenizer = words(pad="<s>")
    assert ids_of(vw.trace(model, tokenizer, [1, 4, 5])) == [1, 4, 5]
    assert ids_of(vw.trace(model, tokenizer, [1, 1, 1, 4, 5])) == [1, 4, 5]
    tokenizer = words(pad="<s>", bos=None)
    assert ids_of(vw.trace(model, tokenizer, [1, 1, 1, 4, 5])) == [4, 5]
    assert ids_of(vw.trace(model, words(pad="</s>"), [4, 5, 2])) == [4, 5, 2]


@pytest.mark.parametrize(
    ("prompt", "options", "sentence"),
    [
        ([1, 4, 5], {"attention_mask": [1, 0, 1]}, "holes"),
        ([1, 4, 5], {"attention_mask": [0, 0, 0]}, "no token at all"),
        ([1, 4, 5], {"attention_mask": [1, 1]}, "as long as the ids"),
        ("the cat", {"attention_mask": [1, 1]}, "not a text"),
        ([1, 4, 5], {"add_special_tokens": True}, "taken as they are"),
        ({"attention_mask": [1]}, {}, "input_ids"),
        ([{"role": "user", "content": [{"type": "image"}]}], {}, "image, which is not traced"),
    ],
)
def test_what_cannot_be_used_is_said(model, prompt, options, sentence):
    with pytest.raises(vw.VisitError, match=sentence):
        vw.trace(model, words(), prompt, **options)


def test_messages_go_through_the_template(model):
    tokenizer = words()
    chat = [{"role": "user", "content": "the cat"}]
    expected = [1, 8, 4, 5, 9]
    assert ids_of(vw.trace(model, tokenizer, chat)) == expected
    assert ids_of(vw.trace(model, tokenizer, {"messages": chat})) == expected
    parts = [{"role": "user", "content": [{"type": "text", "text": "the cat"}]}]
    assert ids_of(vw.trace(model, tokenizer, parts)) == expected
    goes_on = vw.trace(model, tokenizer, [*chat, {"role": "assistant", "content": "ran"}])
    assert ids_of(goes_on) == [1, 8, 4, 5, 9, 6]
    assert "goes on with it" in goes_on.notes[0]


def test_without_a_template_messages_are_refused(model):
    chat = [{"role": "user", "content": "the cat"}]
    with pytest.raises(vw.VisitError, match="no chat template"):
        vw.trace(model, words(template=None), chat)
    with pytest.raises(vw.VisitError, match="no chat template"):
        vw.trace(model, None, chat)


def test_special_tokens_are_put_as_asked(model):
    tokenizer = words()
    assert ids_of(vw.trace(model, tokenizer, "the cat")) == [1, 4, 5]
    assert ids_of(vw.trace(model, tokenizer, "the cat", add_special_tokens=True)) == [1, 4, 5]
    assert ids_of(vw.trace(model, tokenizer, "the cat", add_special_tokens=False)) == [4, 5]


def test_a_text_that_starts_itself_gets_no_second_start(model):
    tokenizer = words()
    chat = [{"role": "user", "content": "the cat"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    trace = vw.trace(model, tokenizer, text)
    assert ids_of(trace) == [1, 8, 4, 5, 9]
    assert "no second one" in trace.notes[0]


EDITS = {
    "ids with a start": ([1, 4, 5, 6], [1, 4, 5, 7]),
    "ids without one": ([4, 5, 6], [4, 5, 7]),
    "a text": ("the cat ran", [1, 4, 5, 7]),
    "messages": ([{"role": "user", "content": "the cat ran"}], [1, 8, 4, 5, 7, 9]),
    "a text without special tokens": (("the cat ran", False), [4, 5, 7]),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_prompt_keeps_its_special_tokens(model, edit):
    prompt, expected = EDITS[edit]
    options = {}
    if isinstance(prompt, tuple):
        prompt, options["add_special_tokens"] = prompt
    widget = vw.visit(model, words(), prompt, **options)
    for _ in range(2):
        widget.prompt = widget.prompt.replace("ran", "dog")
        assert ids_of(widget.trace) == expected
        widget.prompt = widget.prompt.replace("dog", "ran")
    widget.prompt += " the"
    assert ids_of(widget.trace)[-1] == 4


def test_ids_that_no_text_is_read_as_stay_where_nothing_changed(model):
    class Letters:
        """Reads a text letter by letter; 30 is “ab” in one."""

        def encode(self, text, add_special_tokens=False):
            return ["abc".index(c) for c in text]

        def decode(self, ids):
            return "".join("ab" if i == 30 else "abc"[i] for i in ids)

        def convert_ids_to_tokens(self, ids):
            return [self.decode([i]) if i in (0, 1, 2, 30) else None for i in ids]

    widget = vw.visit(model, Letters(), [30, 2, 30])
    assert widget.prompt == "abcab"
    widget.prompt = "abaab"
    assert ids_of(widget.trace) == [30, 0, 30]


def test_a_rotary_model_reads_on_with_a_note_and_learned_positions_do_not():
    long = [4, 5, 6, 7] * 6
    trace = vw.trace(llama(), None, long)
    assert trace.audit().exact
    assert "more than the 16" in trace.notes[0]
    assert "more than the 16" in vw.visit(llama(), None, long).status["message"]
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=16)
    with pytest.raises(vw.VisitError, match="at most 16: shorten it"):
        vw.trace(transformers.GPT2LMHeadModel(config).eval(), None, long)


def test_a_tokenizer_that_only_encodes_and_decodes(model):
    class Plain:
        """As tiktoken's: refuses texts of special tokens unless told, and panics past its end."""

        __slots__ = ()
        n_vocab = 8
        pieces = (b"the", b" the", b" cat", b"\xe2\x82", b"\xac", b"<|end|>", b"\n", b" ")

        def encode(self, text, allowed_special=()):
            if "<|end|>" in text and allowed_special != "all":
                raise ValueError("disallowed special token")
            raw, ids = text.encode(), []
            while raw:
                piece = max((p for p in self.pieces if raw.startswith(p)), key=len)
                ids.append(self.pieces.index(piece))
                raw = raw[len(piece) :]
            return ids

        def decode(self, ids):
            return b"".join(self.pieces[i] for i in ids).decode("utf-8", "replace")

        def decode_single_token_bytes(self, token):
            return self.pieces[token]

    trace = vw.trace(model, Plain(), "the cat€<|end|>")
    assert trace.tokens == ["the", "␣cat", "\\xe2\\x82", "\\xac", "<|end|>"]
    assert trace.token("␣the") == 1 == trace.token(" the")
    assert trace.token("\\xac") == 4
    assert trace.token("⏎") == 6
    assert trace.token("#30") == 30
    assert vw.visit(model, Plain(), "the cat").graph["prediction"]


def test_a_saved_trace_keeps_how_its_prompt_was_read_and_what_is_said_of_it(model, tmp_path):
    tokenizer = words()
    trace = vw.trace(model, tokenizer, {"input_ids": [3, 1, 4, 5], "attention_mask": [0, 1, 1, 1]})
    trace.save(tmp_path / "trace.safetensors")
    back = vw.load_trace(tmp_path / "trace.safetensors", model, tokenizer)
    assert (back.notes, back.special) == (trace.notes, trace.special) != ((), None)
    widget = vw.visit(back)
    widget.prompt = widget.prompt.replace("cat", "dog")
    assert ids_of(widget.trace) == [1, 4, 7]


def put(single: str, *special: str, **more):
    """A tokenizer of words that puts special tokens around a text."""
    names = ["<unk>", "<s>", "</s>", "the", "cat", "ran", "dog", "[gMASK]", "<sop>", "[CLS]"]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(names)}, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(s, names.index(s)) for s in special]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", additional_special_tokens=list(special), **more
    )


@pytest.mark.parametrize(
    ("single", "special", "text", "ids"),
    [
        ("[gMASK] <sop> $A", ("[gMASK]", "<sop>"), "[gMASK]<sop>the cat", [7, 8, 3, 4]),
        ("[gMASK] <sop> $A", ("[gMASK]", "<sop>"), "<sop> the cat", [7, 8, 3, 4]),
        ("[gMASK] <sop> $A", ("[gMASK]", "<sop>"), "the cat", [7, 8, 3, 4]),
        ("[CLS] $A", ("[CLS]",), "[CLS] the cat", [9, 3, 4]),
        ("<s> $A </s>", ("<s>", "</s>"), "<s> the cat </s>", [1, 3, 4, 2]),
        ("<s> $A </s>", ("<s>", "</s>"), "the cat </s>", [1, 3, 4, 2]),
        ("$A </s>", ("</s>",), "the cat", [3, 4, 2]),
    ],
)
@pytest.mark.parametrize("raw", [False, True], ids=["transformers", "tokenizers"])
def test_what_a_text_has_at_its_rims_is_not_put_there_again(model, single, special, text, ids, raw):
    made = put(single, *special)
    trace = vw.trace(model, made.backend_tokenizer if raw else made, text)
    assert ids_of(trace) == ids
    assert bool(trace.notes) == (text != "the cat")


def test_a_row_padded_with_what_texts_begin_or_end_with_keeps_one(model):
    made = put("<s> $A </s>", "<s>", "</s>", bos_token="<s>", eos_token="</s>")
    for pad, side in (("<s>", "left"), ("</s>", "right")):
        made.pad_token, made.padding_side = pad, side
        rows = made(["the cat ran the dog", "the cat"], padding=True)["input_ids"]
        assert len(rows[0]) == len(rows[1])
        assert ids_of(vw.trace(model, made, rows[1])) == [1, 3, 4, 2]


def test_a_raw_tokenizer_that_pads_gives_no_padding(model):
    made = put("<s> $A", "<s>").backend_tokenizer
    made.enable_padding(length=8, pad_id=2, pad_token="</s>")
    assert ids_of(vw.trace(model, made, "the cat")) == [1, 3, 4]


def test_a_mask_of_what_is_added_to_scores(model):
    mask = torch.tensor([float("-inf"), 0.0, 0.0])
    assert ids_of(vw.trace(model, None, [3, 4, 5], attention_mask=mask)) == [4, 5]
    with pytest.raises(vw.VisitError, match="1 for tokens and 0 for padding"):
        vw.trace(model, None, [3, 4, 5], attention_mask=[1, 2, 2])


PARTS_ONLY = (
    "{% for m in messages %} <user>{% for c in m['content'] %}{% if c['type'] == 'text' %} "
    "{{ c['text'] }}{% endif %}{% endfor %}{% endfor %} <bot>"
)
TEXTS_ONLY = "{% for m in messages %} <user> {{ m['content'] }}{% endfor %} <bot>"


@pytest.mark.parametrize("template", [PARTS_ONLY, TEXTS_ONLY], ids=["parts", "texts"])
@pytest.mark.parametrize(
    "content", ["the cat", [{"type": "text", "text": "the cat"}]], ids=["a text", "parts"]
)
def test_a_template_gets_contents_as_it_takes_them(model, template, content):
    made = words(template=template)
    for chat in (
        [{"role": "user", "content": content}],
        [[{"role": "user", "content": content}]],
        {"role": "user", "content": content},
        {"messages": [{"role": "user", "content": content}]},
    ):
        assert ids_of(vw.trace(model, made, chat)) == [8, 4, 5, 9]


def test_what_a_chat_cannot_have_is_said(model):
    chat = [{"role": "user", "content": "the cat"}]
    with pytest.raises(vw.VisitError, match="not messages"):
        vw.trace(model, words(), chat, attention_mask=[1, 1])
    with pytest.raises(vw.VisitError, match="a chat template puts"):
        vw.trace(model, words(), chat, add_special_tokens=True)
    with pytest.raises(vw.VisitError, match="one chat"):
        vw.trace(model, words(), [chat, chat])
    with pytest.raises(vw.VisitError, match="image"):
        vw.trace(model, words(), [{"role": "user", "content": [{"type": "image"}]}])


def test_a_word_that_the_tokenizer_cannot_read_is_said(model):
    inner = Tokenizer(models.WordLevel({"a": 0, "b": 1}))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=inner)
    with pytest.raises(vw.VisitError, match="cannot read 'zzz'"):
        vw.trace(model, made, "zzz")
    with pytest.raises(vw.VisitError, match="cannot read 'zzz'"):
        vw.trace(model, made, "a b").token("zzz")
    widget = vw.visit(model, made, "a b")
    with pytest.raises(vw.VisitError, match="cannot read 'a zzz'"):
        widget.prompt = "a zzz"
    assert ids_of(widget.trace) == [0, 1]


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (None, "There is no prompt"),
        (b"the cat", "bytes"),
        ({"input_ids": [[3, 4], [5]]}, "one prompt"),
        ([[3, 4], [5]], "one prompt"),
        ([2**70], "outside of any vocabulary"),
        ([3, 4.5], "whole numbers"),
        ({"inputs_embeds": 1}, "input_ids"),
        pytest.param(object(), "not object", id="an object"),
    ],
    ids=str,
)
def test_what_is_no_prompt_is_said(model, prompt, said):
    with pytest.raises(vw.VisitError, match=said):
        vw.trace(model, words(), prompt)
