"""What a user can put right: the one kind of exception that the command line shows without a traceback."""

from __future__ import annotations


class InputError(ValueError):
    """A recipe, corpus, file or folder that cannot be used. The message names it and says what to do."""
