"""Chats: whose words each token is, and which are the template's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

import visit_widget as vw
from tests.conftest import word_tokenizer
from tests.tiny import make_model

CHATML = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|s|>system\nthe red dog"
    "<|e|>\n{% endif %}<|s|>{{ m.role }}\n{{ m.content }}<|e|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|s|>assistant\n{% endif %}"
)
# Contents are trimmed, there is a token before all of it, and parts instead of texts.
HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|s|>{{ m.role }}<|h|>\n\n"
    "{{ m.content[0].text | trim }}<|e|>{% endfor %}"
    "{% if add_generation_prompt %}<|s|>assistant<|h|>\n\n{% endif %}"
)
# What the system says is put into the user's turn; nobody else may begin.
INST = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content ~ "
    "'\n\n' %}{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}"
    "{% endif %}{% for m in rest %}{% if m.role == 'user' %}[I] "
    "{{ (first if loop.first else '') ~ m.content }} [/I]{% elif loop.first %}"
    "{{ raise_exception('user first') }}{% else %} {{ m.content }}<|e|>{% endif %}{% endfor %}"
)
SPECIAL = ["<|s|>", "<|e|>", "<|h|>"]
# Contents that stand elsewhere in the text too: in headers, and in what the template says.
CHATS = {
    "asked": [("user", "the cat sat")],
    "role": [("user", "user")],
    "spaces": [("user", "  the cat \n"), ("assistant", "a"), ("user", "a")],
    "system": [("system", "red"), ("user", "the dog ran"), ("assistant", "to the city")],
    "long": [
        ("user", "the"), ("assistant", "a dog"), ("user", "the"), ("assistant", "system"),
        ("user", "on a mat"),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Any:
    return make_model("llama", vocab_size=400, max_position_embeddings=256)


def reader(template: str) -> Any:
    made = word_tokenizer()
    made.add_special_tokens({"additional_special_tokens": SPECIAL})
    made.chat_template = template
    return made


Piece = tuple[str | None, str, bool]


def pieces(template: str, chat: list[tuple[str, str]]) -> Iterator[Piece]:
    """(role, text, whether it is said), written down from the templates by hand."""
    goes_on = chat[-1][0] == "assistant"
    if template is CHATML:
        if chat[0][0] != "system":
            yield None, "<|s|>system\nthe red dog<|e|>\n", False
    else:
        yield None, "<|end|>", False
    for n, (role, said) in enumerate(chat):
        last = n + 1 == len(chat)
        if template is CHATML:
            yield role, f"<|s|>{role}\n", False
            yield role, said, True
            yield role, "" if last and goes_on else "<|e|>\n", False
        elif template is HEADERS:
            yield role, f"<|s|>{role}<|h|>\n\n", False
            yield role, said.strip(), True
            yield role, "" if last and goes_on else "<|e|>", False
        elif role == "system":
            yield role, "[I] ", False
            yield role, said, True
        elif role == "user":
            after_system = n and chat[n - 1][0] == "system"
            yield role, "\n\n" if after_system else "[I] ", False
            yield role, said, True
            yield role, " [/I]", False
        else:
            yield role, " ", False
            yield role, said, True
            yield role, "" if last and goes_on else "<|e|>", False
    if not goes_on:
        ready = {CHATML: "<|s|>assistant\n", HEADERS: "<|s|>assistant<|h|>\n\n", INST: ""}
        yield "assistant", ready[template], False


@pytest.mark.parametrize("chat", CHATS.values(), ids=CHATS)
@pytest.mark.parametrize("template", [CHATML, HEADERS, INST], ids=["chatml", "headers", "inst"])
def test_every_token_is_somebodys(model, template, chat):
    tokenizer = reader(template)
    trace = vw.trace(model, tokenizer, [{"role": r, "content": c} for r, c in chat])
    marks = [(r, s) for r, text, s in pieces(template, chat) for _ in text]
    text = "".join(text for _, text, _ in pieces(template, chat))
    ids = trace.input_ids.tolist()
    assert tokenizer.decode(ids) == text
    assert trace.turns is not None
    assert [t.start for t in trace.turns[1:]] == [t.end for t in trace.turns[:-1]]
    assert (trace.turns[0].start, trace.turns[-1].end) == (0, len(ids))
    begin = 0
    for n in range(len(ids)):
        end = len(tokenizer.decode(ids[: n + 1]))
        turn = next(t for t in trace.turns if t.start <= n < t.end)
        said = turn.said is not None and turn.said[0] <= n < turn.said[1]
        roles, spoken = zip(*marks[begin:end], strict=True)
        assert said == any(spoken), (n, trace.tokens[n])
        assert turn.role in roles, (n, trace.tokens[n])
        begin = end


def test_graphs_and_files_say_whose_words_they_are(model, tmp_path):
    tokenizer = reader(CHATML)
    trace = vw.trace(model, tokenizer, [{"role": "user", "content": "the cat sat"}])
    graph = trace.flow()
    assert [turn["role"] for turn in graph.turns] == [None, "user", "assistant"]
    jsonschema.validate(graph.to_dict(), vw.FlowGraph.schema())
    assert vw.FlowGraph.from_json(graph.to_json()).turns == graph.turns
    again = vw.load_trace(trace.save(tmp_path / "chat.safetensors"), model, tokenizer)
    assert again.turns == trace.turns
    assert trace.rerun({"L1.mlp": "zero"}).turns == trace.turns
    plain = vw.trace(model, tokenizer, "the cat sat").flow()
    assert plain.turns is None
    assert "turns" not in plain.to_dict()


def test_what_is_generated_is_the_assistants(model):
    tokenizer = reader(CHATML)
    chat = [{"role": "user", "content": "the cat sat"}]
    said = vw.generate(model, tokenizer, chat, 4, pad_token_id=0, eos_token_id=-1)
    n = said.input_ids.numel()
    first, last = said.traces[0].turns, said.traces[3].turns
    assert first == vw.trace(model, tokenizer, chat).turns
    assert last[:-1] == first[:-1]
    assert (last[-1].role, last[-1].end, last[-1].said) == ("assistant", n + 3, (n, n + 3))
    begun = [*chat, {"role": "assistant", "content": "the dog"}]
    goes_on = vw.generate(model, tokenizer, begun, 3, pad_token_id=0, eos_token_id=-1)
    turn = goes_on.traces[2].turns[-1]
    words = goes_on.traces[2].input_ids[slice(*turn.said)].tolist()
    assert tokenizer.decode(words).startswith("the dog")
    assert turn.end == turn.said[1] == len(goes_on.traces[2])


def test_a_text_that_does_not_show_the_messages_has_no_turns(model):
    tokenizer = reader("{% for m in messages %}{{ m.content | upper }}{% endfor %}")
    trace = vw.trace(model, tokenizer, [{"role": "user", "content": "the cat"}])
    assert trace.turns is None


def test_tokenizers_without_places_are_read_by_what_they_decode():
    from visit_widget.trace.turns import turns_of

    class Slow:
        def decode(self, ids: list[int], **_: Any) -> str:
            return "".join(["<u>", "he", "llo", "</u>"][i] for i in ids)

    def render(messages: Any, _: bool) -> str:
        return "".join(f"<u>{m['content']}</u>" for m in messages)

    messages = [{"role": "user", "content": "hello"}]
    (turn,) = turns_of(Slow(), messages, ["hello"], "<u>hello</u>", [0, 1, 2, 3], render)
    assert (turn.role, turn.start, turn.end, turn.said) == ("user", 0, 4, (1, 3))
    assert turns_of(Slow(), messages, ["hello"], "<u>hallo</u>", [0, 1, 2, 3], render) is None
