"""The offline job: corpus to subwords to batches to training to evaluation. It ends in a model directory."""
