"""python -m translator generate: texts from a language model."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from translator.command_line import Failure, device_option, failures_of_streams


@click.command()
@click.argument("model", metavar="DIR")
@click.option("--prefix", default="", help="What each text begins with.")
@click.option("--label", help="What each text is to be of, for a model that was trained with labels.")
@click.option("--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many texts to draw.")
@click.option("--max-length", type=int, help="Tokens to add at most; 500 if not given.")
@click.option(
    "--temperature", type=float, default=1.0, show_default=True, help="Below 1 more cautious, above 1 bolder."
)
@click.option("--top-k", type=int, help="Draw from the K most probable tokens.")
@click.option("--top-p", type=float, help="Draw from the smallest set of tokens of this probability.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, other texts.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print each text as a JSON object on a line of its own.")
def generate(
    model: str, prefix: str, label: str | None, count: int, device: str, as_json: bool, **options: float | None
) -> None:
    """Draw texts, one token at a time, from the language model in DIR."""
    from pydantic import ValidationError

    from translator.config import SearchOptions
    from translator.generation import generate as draw_texts
    from translator.language_model_directory import load_language_model

    given = {name: value for name, value in options.items() if value is not None}
    try:
        search_options = SearchOptions.model_validate({"method": "sample", **given})
        loaded = load_language_model(model, device)
        texts = draw_texts(loaded, search_options, count=count, prefix=prefix, label=label)
    except ValidationError as error:
        fault = error.errors()[0]
        raise click.UsageError(f"--{str(fault['loc'][0]).replace('_', '-')}: {fault['msg']}") from error
    except (ValueError, RuntimeError, AssertionError) as error:  # the last two: a device that is not here
        raise Failure(str(error).splitlines()[0]) from error
    with failures_of_streams():
        for text in texts:
            click.echo(json.dumps(asdict(text), ensure_ascii=False) if as_json else text.text)
            if not as_json and loaded.card.unit == "paragraph":
                click.echo()
