"""Phrases whose sentence vectors are looked at: the same words in other roles, the same meaning in other words.

The English phrases to draw are those of the paper's Figure 2; all others are our own, in the words of picture captions.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Panel:
    """Phrases to draw together, each with the number of its group: those of one group mean (nearly) the same."""

    title: str
    phrases: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Triple:
    """A sentence in the active voice, the same in the passive, and the active with the roles exchanged."""

    active: str
    passive: str
    exchanged: str


@dataclass(frozen=True)
class PhraseSet:
    """The phrases of one language."""

    panels: tuple[Panel, ...]
    triples: tuple[Triple, ...]

    def texts(self) -> list[str]:
        """All of them, each once."""
        drawn = [phrase for panel in self.panels for phrase, _ in panel.phrases]
        compared = [text for triple in self.triples for text in (triple.active, triple.passive, triple.exchanged)]
        return list(dict.fromkeys([*drawn, *compared]))


PHRASES = {
    "en": PhraseSet(
        panels=(
            Panel(
                "who does it to whom",
                (
                    ("John respects Mary", 0),
                    ("John admires Mary", 0),
                    ("John is in love with Mary", 0),
                    ("Mary respects John", 1),
                    ("Mary admires John", 1),
                    ("Mary is in love with John", 1),
                ),
            ),
            Panel(
                "order of words and voice",
                (
                    ("I gave her a card in the garden", 0),
                    ("In the garden , I gave her a card", 0),
                    ("She was given a card by me in the garden", 0),
                    ("She gave me a card in the garden", 1),
                    ("In the garden , she gave me a card", 1),
                    ("I was given a card by her in the garden", 1),
                ),
            ),
        ),
        triples=(
            Triple("The man sees the woman.", "The woman is seen by the man.", "The woman sees the man."),
            Triple("A boy holds a dog.", "A dog is held by a boy.", "A dog holds a boy."),
            Triple("The girl paints the boy.", "The boy is painted by the girl.", "The boy paints the girl."),
            Triple("A woman follows a child.", "A child is followed by a woman.", "A child follows a woman."),
            Triple("The teacher helps the man.", "The man is helped by the teacher.", "The man helps the teacher."),
            Triple("A dog chases a cat.", "A cat is chased by a dog.", "A cat chases a dog."),
            Triple("The child loves the girl.", "The girl is loved by the child.", "The girl loves the child."),
            Triple("A man carries a woman.", "A woman is carried by a man.", "A woman carries a man."),
        ),
    ),
    "de": PhraseSet(
        panels=(
            Panel(
                "who does it to whom",
                (
                    ("Ein Mann umarmt eine Frau.", 0),
                    ("Ein Mann fotografiert eine Frau.", 0),
                    ("Ein Mann trägt eine Frau.", 0),
                    ("Eine Frau umarmt einen Mann.", 1),
                    ("Eine Frau fotografiert einen Mann.", 1),
                    ("Eine Frau trägt einen Mann.", 1),
                ),
            ),
            Panel(
                "order of words and voice",
                (
                    ("Ein Mann gibt einer Frau im Park ein Buch.", 0),
                    ("Im Park gibt ein Mann einer Frau ein Buch.", 0),
                    ("Einer Frau wird im Park von einem Mann ein Buch gegeben.", 0),
                    ("Eine Frau gibt einem Mann im Park ein Buch.", 1),
                    ("Im Park gibt eine Frau einem Mann ein Buch.", 1),
                    ("Einem Mann wird im Park von einer Frau ein Buch gegeben.", 1),
                ),
            ),
        ),
        triples=(
            Triple(
                "Ein Mann umarmt eine Frau.",
                "Eine Frau wird von einem Mann umarmt.",
                "Eine Frau umarmt einen Mann.",
            ),
            Triple(
                "Ein Junge hält einen Hund.", "Ein Hund wird von einem Jungen gehalten.", "Ein Hund hält einen Jungen."
            ),
            Triple(
                "Ein Mädchen malt einen Mann.",
                "Ein Mann wird von einem Mädchen gemalt.",
                "Ein Mann malt ein Mädchen.",
            ),
            Triple(
                "Eine Frau verfolgt ein Kind.",
                "Ein Kind wird von einer Frau verfolgt.",
                "Ein Kind verfolgt eine Frau.",
            ),
            Triple(
                "Ein Hund jagt eine Katze.", "Eine Katze wird von einem Hund gejagt.", "Eine Katze jagt einen Hund."
            ),
            Triple(
                "Ein Mann fotografiert eine Frau.",
                "Eine Frau wird von einem Mann fotografiert.",
                "Eine Frau fotografiert einen Mann.",
            ),
            Triple(
                "Ein Kind schiebt einen Mann.", "Ein Mann wird von einem Kind geschoben.", "Ein Mann schiebt ein Kind."
            ),
            Triple(
                "Eine Frau trägt ein Mädchen.",
                "Ein Mädchen wird von einer Frau getragen.",
                "Ein Mädchen trägt eine Frau.",
            ),
        ),
    ),
}
"""By the language of the source."""
