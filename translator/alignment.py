"""Which source positions the attention looked at for each token of a finished translation.

The search keeps no weights, so that it stays fast: they come from a second pass over the tokens that it chose, in
float32 by the network itself, whatever engine the search used.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from translator.directory import LoadedModel
from translator.translation import Alignment, SentenceTranslation, Translation


def align(loaded: LoadedModel, translation: Translation) -> Translation:
    """The same translation with an `alignment` in every sentence.

    Raises `ValueError` for a model without attention.
    """
    if loaded.config.attention == "none":
        raise ValueError(f"{loaded.card.name}: has no attention, and so no alignments; train one with model.attention")
    sentences = tuple(replace(sentence, alignment=_alignment(loaded, sentence)) for sentence in translation.sentences)
    return replace(translation, sentences=sentences)


@torch.inference_mode()
def _alignment(loaded: LoadedModel, sentence: SentenceTranslation) -> Alignment:
    model, source_eos_id, target_eos_id = loaded.model, loaded.source_vocabulary.eos_id, loaded.target_vocabulary.eos_id
    device = model.decoder.output.weight.device
    source_1S = torch.tensor([sentence.source_tokens], dtype=torch.int64, device=device)
    inputs_1T = torch.tensor([[target_eos_id, *sentence.target_tokens]], device=device)
    encoded = model.encoder(source_1S, source_eos_id)
    _, _, weights_1TS = model.decoder.forward_with_weights(inputs_1T, encoded, encoded.state)
    assert weights_1TS is not None
    weights_TS = weights_1TS[0].float().cpu()
    if loaded.config.reverse_source:  # back into reading order; `<EOS>` was read last in either case
        weights_TS = torch.cat([weights_TS[:, :-1].flip(1), weights_TS[:, -1:]], dim=1)
    return Alignment(
        tuple(loaded.source_vocabulary.pieces([*sentence.source_tokens, source_eos_id])),
        tuple(loaded.target_vocabulary.pieces([*sentence.target_tokens, target_eos_id])),
        tuple(tuple(row) for row in weights_TS.tolist()),
    )
