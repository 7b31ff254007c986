"""Word dropout: which tokens a network in training is not shown."""

from __future__ import annotations

import pytest
import torch

from training.subwords import EOS_ID, UNK_ID
from training.updating import hide_words


def test_so_many_tokens_are_unknown_and_no_end_of_a_sentence() -> None:
    torch.manual_seed(1)
    tokens = torch.randint(3, 100, (200, 50))
    tokens[:, 0] = EOS_ID
    hidden = hide_words(tokens, 0.3)
    assert hidden[:, 0].eq(EOS_ID).all()
    unknown = hidden == UNK_ID
    assert unknown[:, 1:].float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert hidden[~unknown].equal(tokens[~unknown])
    assert not hide_words(tokens, 0.3).equal(hidden)


def test_none_is_hidden_by_default_and_no_random_number_drawn() -> None:
    tokens = torch.full((2, 3), 5)
    state = torch.get_rng_state()
    assert hide_words(tokens, 0.0) is tokens
    assert torch.get_rng_state().equal(state)
