"""One blueprint for each group of resources."""
