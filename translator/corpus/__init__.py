"""Translation of a corpus, shard by shard, by processes of this machine or by the nodes of a Ray cluster."""
