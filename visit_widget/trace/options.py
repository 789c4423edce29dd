"""The options of `generate` that make one text, and those that do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel

from ..model import VisitError

_MANY = {
    "num_beams": "Beam search keeps several texts at once",
    "num_beam_groups": "Beam search keeps several texts at once",
    "num_return_sequences": "Several texts were asked for",
}
_PROMPTS = ("inputs", "input_ids", "inputs_embeds", "decoder_input_ids", "encoder_outputs")
_OUTPUTS = (
    "return_dict_in_generate", "output_scores", "output_logits", "output_attentions",
    "output_hidden_states",
)  # fmt: skip


def check_options(model: PreTrainedModel, options: Mapping[str, Any]) -> None:
    """Whether these options make one text of one prompt.

    Args:
        model: whose own defaults count too.
        options: of `generate`.

    Raises:
        VisitError: saying what to leave out.
    """
    for name, what in _MANY.items():
        value = option(model, options, name)
        if isinstance(value, int) and value > 1:
            raise VisitError(
                f"{what} ({name}={value}), and a generation is of one: pass {name}=1, with "
                "do_sample=True and other seeds for other texts."
            )
    for name in _PROMPTS:
        if options.get(name) is not None:
            raise VisitError(
                f"{name}= is a prompt: pass it as the third argument, as a text, token ids or "
                "chat messages."
            )
    if options.get("past_key_values") is not None:
        raise VisitError(
            "past_key_values= hides from the trace what the prompt left: pass the whole prompt "
            "instead, or go on from an earlier generation with generation.branch."
        )
    for name in _OUTPUTS:
        if options.get(name):
            raise VisitError(
                f"{name}= changes what model.generate gives; leave it out: a generation has all of "
                "it in its .steps and .traces."
            )


def goes_on_from_a_cache(model: PreTrainedModel, options: Mapping[str, Any]) -> bool:
    """Whether `generate` may be given a cache of what is known, under these options."""
    return (
        option(model, options, "use_cache") is not False
        and option(model, options, "cache_implementation") in (None, "dynamic")
        and options.get("assistant_model") is None
        and option(model, options, "prompt_lookup_num_tokens") is None
    )


def option(model: PreTrainedModel, options: Mapping[str, Any], name: str) -> Any:
    """The value that `generate` goes by: what was passed, else what the configs say."""
    if options.get(name) is not None:
        return options[name]
    for config in (options.get("generation_config"), getattr(model, "generation_config", None)):
        value = getattr(config, name, None)
        if value is not None:
            return value
    return None
