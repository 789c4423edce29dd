"""The command `visit-widget`: a prompt and a model in, one self-contained HTML page out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# torch, transformers and the rest of this package are imported once the arguments are known to be
# good, so that `--help` and typing mistakes are answered at once.

DEMO = "demo"

EXAMPLES = """\
examples:
  visit-widget "The capital of Japan is the city of"
  visit-widget "The capital of Japan is the city of" --target " Tokyo" --foil " Kyoto" --layer 20,23
  visit-widget "Once upon a" --model gpt2 -o story.html
"""


class CommandError(Exception):
    """The command cannot be carried out; the message is the one sentence that the user reads."""


class OneSentenceParser(argparse.ArgumentParser):
    """Answers a typing mistake with one sentence instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Prints `message` and exits."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: The words after the command's name; those of this process by default.

    Returns:
        The exit status: 0, or 1 after one sentence on standard error.
    """
    options = make_parser().parse_args(arguments)
    try:
        written = write_page(options)
    except KeyboardInterrupt:
        print("visit-widget: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if options.debug:
            raise
        print(f"visit-widget: {sentence_for(error)}", file=sys.stderr)
        return 1
    print(f"{written} ({written.stat().st_size / 1e6:.1f} MB)")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = OneSentenceParser(
        prog="visit-widget",
        description="Writes one forward pass of a language model as an interactive page.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prompt", metavar="PROMPT", help="the text that the model reads")
    parser.add_argument(
        "--model",
        default=DEMO,
        metavar="ID|PATH",
        help="a folder, or a model on the Hugging Face hub (default: demo, SmolLM2-135M-Instruct)",
    )
    parser.add_argument(
        "--layer",
        action="append",
        default=[],
        type=layer_numbers,
        dest="layers",
        metavar="L",
        help="carry only this layer, opened; may be repeated, or be a list such as 20,23 "
        "(default: carry all layers, closed)",
    )
    parser.add_argument(
        "--target",
        metavar="TOKEN",
        help='the token to follow, with its leading space: " Tokyo" (default: the first choice)',
    )
    parser.add_argument("--foil", metavar="TOKEN", help="the token to compare the target against")
    parser.add_argument(
        "--focus",
        type=int,
        default=-1,
        metavar="N",
        help="the position whose computation is shown (default: -1, the last)",
    )
    parser.add_argument(
        "--measure",
        choices=["logit", "share", "norm", "proximity"],
        default="logit",
        help="what ribbons mean (default: logit)",
    )
    parser.add_argument(
        "--view",
        choices=["block", "routes"],
        default="block",
        help="what the page opens on: the layers at the focus, or the routes through all positions",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("flow.html"),
        metavar="FILE",
        help="the page to write (default: flow.html)",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def layer_numbers(text: str) -> list[int]:
    """Reads `20` or `20,23`."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a layer's number") from None


def write_page(options: argparse.Namespace) -> Path:
    """Loads the model, traces the prompt and writes the page."""
    check_output(options.output)
    with progress(total=2) as bar:
        bar.set_description("Loading the model")
        model, tokenizer = load_model(options.model)
        bar.update()

        from .widget import visit

        layers = sorted({layer for group in options.layers for layer in group})
        bar.set_description("Tracing the prompt")
        widget = visit(
            model,
            tokenizer,
            options.prompt,
            layers=layers,
            target=options.target,
            foil=options.foil,
            focus=options.focus,
            measure=options.measure,
            view=options.view,
        )
        bar.update()
        bar.set_description("Reading the layers")

        def layers_done(done: int, total: int) -> None:
            bar.total = total
            bar.n = done
            bar.refresh()

        written = widget.save_html(options.output, expand=layers or "all", progress=layers_done)
    return Path(written)


def check_output(path: Path) -> None:
    """Refuses, before any long work, a place that cannot be written to."""
    folder = path.parent
    if path.is_dir():
        raise CommandError(f"'{path}' is a folder: name the file to write in it")
    if not folder.is_dir():
        raise CommandError(f"there is no folder '{folder}': make it first, or write elsewhere")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise CommandError(f"'{path}' cannot be written: choose another place with -o")


def load_model(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads the demo model, a folder, or a model of the hub."""
    if name == DEMO and not Path(name).is_dir():
        from .model.demo import load_demo

        return load_demo()

    from huggingface_hub.utils import logging as hub_logging
    from huggingface_hub.utils.tqdm import enable_progress_bars
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    logging.disable_progress_bar()
    enable_progress_bars()  # of these two, only downloads take long enough
    try:
        model = AutoModelForCausalLM.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except OSError as error:
        if Path(name).is_dir():
            raise CommandError(
                f"the folder '{name}' holds no complete model and tokenizer"
            ) from error
        raise CommandError(
            f"no model '{name}' was found, neither as a folder nor on the Hugging Face hub"
        ) from error
    except ValueError as error:
        raise CommandError(
            f"'{name}' is not a causal language model that transformers can load"
        ) from error
    return model, tokenizer


def progress(total: int) -> AbstractContextManager[Any]:
    """A progress bar on standard error, where that is a terminal."""
    from tqdm import tqdm

    bar: AbstractContextManager[Any] = tqdm(
        total=total,
        file=sys.stderr,
        leave=False,
        disable=None,
        bar_format="{desc} {bar} {n}/{total}",
    )
    return bar


def sentence_for(error: Exception) -> str:
    """What the user reads about `error`: one line."""
    summary = " ".join(str(error).split())
    if isinstance(error, CommandError):
        return summary
    if isinstance(error, OSError) and error.filename:
        return f"'{error.filename}' cannot be written: {error.strerror}"

    from .model.errors import VisitError

    if isinstance(error, VisitError):
        return summary
    return f"something went wrong ({type(error).__name__}: {summary}); --debug shows where"
