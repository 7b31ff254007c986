"""Sentence pairs to learn from and a port to listen on."""

from __future__ import annotations

import socket

ENGLISH = (
    "Where is the station?",
    "The station is near the old bridge.",
    "I would like a cup of coffee, please.",
    "It is raining again this morning.",
    "She reads a book every evening.",
    "The children are playing in the garden.",
    "We will arrive at half past seven.",
    "Can you open the window?",
    "He never answers my letters.",
    "They bought bread, cheese and apples.",
    "My brother works in a small town.",
    "The train was late because of the snow.",
)
FRENCH = (
    "Où est la gare ?",
    "La gare est près du vieux pont.",
    "Je voudrais une tasse de café, s'il vous plaît.",
    "Il pleut encore ce matin.",
    "Elle lit un livre tous les soirs.",
    "Les enfants jouent dans le jardin.",
    "Nous arriverons à sept heures et demie.",
    "Peux-tu ouvrir la fenêtre ?",
    "Il ne répond jamais à mes lettres.",
    "Ils ont acheté du pain, du fromage et des pommes.",
    "Mon frère travaille dans une petite ville.",
    "Le train était en retard à cause de la neige.",
)


def unused_port() -> int:
    """A TCP port on 127.0.0.1 that nothing listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "looked",
    "at",
    "two",
    "old",
    "dogs",
    "under",
    "an",
    "apple",
    "tree",
    "near",
    "our",
    "house",
]
"""What sentences are put together from where it does not matter what they say."""
