"""The command `visit-widget`: a prompt and a model in, one self-contained HTML page out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn

from .cli_load import DEMO, DTYPES, CommandError, Wanted, load_model
from .cli_prompt import chat_ids, read_prompt

# torch, transformers and the rest of this package are imported once the arguments are known to be
# good, so that `--help` and typing mistakes are answered at once.

EXAMPLES = """\
examples:
  visit-widget "The capital of Japan is the city of"
  visit-widget "The capital of Japan is the city of" --target " Tokyo" --foil " Kyoto" --layer 20,23
  visit-widget "Once upon a" --model gpt2 -o story.html
  visit-widget "What is 2 + 2?" --chat --model path/to/model.gguf --dtype bfloat16 --device cuda
  cat prompt.txt | visit-widget --target " yes" --target " Yes" --combine logsumexp

exit status: 0 written, 1 it cannot be done, 2 a mistake in the arguments, 130 stopped
"""


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
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        options.prompt = read_prompt(options.prompt)
        if options.prompt is None:
            parser.error("there is no prompt: pass one in quotes, or on standard input")
        if options.system is not None and not options.chat:
            parser.error("--system goes with --chat")
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
    parser.add_argument(
        "prompt",
        metavar="PROMPT",
        nargs="?",
        help="the text that the model reads; - or nothing: it comes from standard input",
    )
    parser.add_argument(
        "--model",
        default=DEMO,
        metavar="ID|PATH",
        help="a folder, a .gguf file, a model on the Hugging Face hub, or a GGUF file there as "
        "ID:FILE.gguf (default: demo, SmolLM2-135M-Instruct)",
    )
    parser.add_argument(
        "--gguf-file", metavar="FILE", help="the GGUF file in the folder or model of --model"
    )
    parser.add_argument(
        "--device",
        metavar="DEVICE",
        help="where the model computes: cpu, cuda, cuda:1, mps (default: where it is loaded, the "
        "CPU)",
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="auto",
        help="what the model computes in (default: auto, what its weights are stored in)",
    )
    parser.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="let a model that brings code of its own run it here",
    )
    parser.add_argument(
        "--chat",
        action="store_true",
        help="put the prompt as a user's message, through the model's own chat template",
    )
    parser.add_argument(
        "--system", metavar="TEXT", help="with --chat: the system message before it"
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
        action="append",
        metavar="TOKEN",
        help='the token to follow, with its leading space: " Tokyo"; may be repeated, to follow '
        "several as one (default: the first choice)",
    )
    parser.add_argument(
        "--foil",
        action="append",
        metavar="TOKEN",
        help="the token to compare the target against; may be repeated",
    )
    parser.add_argument(
        "--combine",
        choices=["mean", "logsumexp"],
        default="mean",
        help="how several tokens are followed: the mean of their logits, or log-sum-exp, the logit "
        "of any of them (default: mean)",
    )
    parser.add_argument(
        "--lens",
        choices=["local", "logit", "calibrated", "jacobian", "tuned"],
        help="what reads vectors as tokens; one that needs it is fitted first, once for each model "
        "(default: jacobian where it has been fitted, else local)",
    )
    parser.add_argument(
        "--focus",
        type=int,
        default=-1,
        metavar="N",
        help="the position whose computation is shown (default: -1, the last)",
    )
    parser.add_argument(
        "--measure",
        choices=["logit", "share", "norm", "proximity", "effect"],
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
        wanted = Wanted(
            options.model, options.gguf_file, options.device, options.dtype,
            options.trust_remote_code,
        )  # fmt: skip
        model, tokenizer = load_model(wanted)
        bar.update()

        from .widget import visit

        prompt = options.prompt
        if options.chat:
            prompt = chat_ids(tokenizer, prompt, options.system)

        layers = sorted({layer for group in options.layers for layer in group})
        bar.set_description("Tracing the prompt")
        widget = visit(
            model,
            tokenizer,
            prompt,
            layers=layers,
            target=followed_tokens(options.target, options.combine),
            foil=followed_tokens(options.foil, options.combine),
            focus=options.focus,
            measure=options.measure,
            view=options.view,
            lens=options.lens,
        )
        bar.update()
        note = widget.status["message"]
        if note:
            bar.clear()
            print(f"visit-widget: {' '.join(note.split())}", file=sys.stderr)
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


def followed_tokens(texts: list[str] | None, combine: str) -> Any:
    """One token's text as it is; several as a target of all of them."""
    if texts is None or len(texts) == 1:
        return None if texts is None else texts[0]
    from .trace import Target

    return Target(texts, combine)  # type: ignore[arg-type]


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
