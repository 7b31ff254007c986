"""What the load benchmarks translate, and how it is asked for over HTTP."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

BEAM_SIZE = 5
"""The beam of every contender; it is named in every request, so that no default can make them differ."""

# Of one to twenty words, as everyday text has them: the lengths matter here and not what is said.
_OWN_SENTENCES = """\
Hello.
I am hungry.
Come in, please.
It is snowing.
Who are you?
That is enough.
Where is the station?
He never answers my letters.
Can you open the window?
The soup is still too hot.
She has two younger sisters.
My brother works in a small town.
It is raining again this morning.
What did you buy at the market?
She reads a book every evening.
They live on the third floor.
I left my umbrella on the bus.
We have been waiting for an hour.
How long does the journey take?
Nobody knew the answer to his question.
The station is near the old bridge.
The children are playing in the garden.
They bought bread, cheese and apples.
I would like a cup of coffee, please.
We will arrive at half past seven.
The train was late because of the snow.
Do you remember the name of that village?
My grandfather planted this tree when he was young.
The doctor told him to stay in bed for three days.
I do not think that she has read your message yet.
If you turn left after the church, you will see the museum.
He put the keys on the table and went back to the car.
There was not a single free seat in the whole theatre yesterday evening.
The two men had known each other since their first day at school.
When we came home, the cat was sitting in front of the door.
She would have called you earlier if her telephone had not been broken.
You should take a warm coat with you, because the nights are cold there.
They wanted to go to the sea last summer, but there was not enough money.
The teacher asked us to write down everything we had seen on our way to the castle.
I have lost the letter in which she told me where the money was hidden.
After the long winter, everybody was glad when the first flowers came up in the garden behind the house.
The man who sold me this bicycle said that it was almost new, but I do not believe him any more.
Although it was already dark, the fishermen went out once more to look for the boat that had not come back.
Because the bridge is being repaired, all trains to the north stop here until the end of next week.
My neighbour has been learning the piano for a year, and every evening we hear the same little song again.
""".splitlines()

sentences_option = click.option(
    "--sentences",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Sentences to translate, one a line; may be repeated. Some of our own if not given.",
)
"""What `read_sentences` gets, for the commands of the benchmarks."""


class Rotation:
    """Sentences by number, without end.

    Every stretch of the numbers has about the same mix of lengths: a contender that gets through 50 sentences is
    measured on the same kind of text as one that gets through 5,000. When all have been used, they come again as they
    are, which no contender remembers; made different by a number, say, they would be another kind of text, on which the
    service took four times as long.
    """

    def __init__(self, sentences: Sequence[str], *, position: int = 0) -> None:
        self._by_length = sorted(dict.fromkeys(sentences), key=lambda sentence: (len(sentence), sentence))
        self._step = _golden_step(len(self._by_length))
        self.position = position
        """Number of the next sentence."""

    def __len__(self) -> int:
        return len(self._by_length)

    def sentence(self, number: int) -> str:
        """Sentence `number`, from 0 on."""
        return self._by_length[number * self._step % len(self._by_length)]

    def stretch(self, start: int, count: int) -> list[str]:
        """Sentences `start` to `start + count - 1`."""
        return [self.sentence(number) for number in range(start, start + count)]

    def requests(self, source: str, target: str) -> Iterator[bytes]:
        """Complete requests to `POST /translate`, one sentence each, from `position` on."""
        while True:
            text = self.sentence(self.position)
            self.position += 1
            yield translate_request(text, source, target)


def _golden_step(count: int) -> int:
    """A stride that visits all of `count` places and, at any moment, has visited them evenly (the golden ratio)."""
    start = max(1, round(count * (math.sqrt(5) - 1) / 2))
    return next(step for step in itertools.count(start) if math.gcd(step, count) == 1)


def translate_request(text: str | list[str], source: str, target: str) -> bytes:
    """An HTTP/1.1 request for one text, or a list of them; the connection stays open by default."""
    body = json.dumps({"q": text, "source": source, "target": target, "beam_size": BEAM_SIZE}).encode()
    head = (
        "POST /translate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def read_sentences(files: Sequence[Path]) -> list[str]:
    """The lines of `files` that are not blank; the sentences above where there are no files.

    Raises:
        click.ClickException: a file cannot be read, or all are blank.
    """
    if not files:
        return list(_OWN_SENTENCES)
    sentences: list[str] = []
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise click.ClickException(f"{file}: {error}") from None
        sentences += [line.strip() for line in lines if line.strip()]
    if not sentences:
        raise click.ClickException("the files of --sentences hold no sentence")
    return sentences
