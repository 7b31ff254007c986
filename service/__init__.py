"""The HTTP service: a thin, unhurried door in front of `translator`."""
