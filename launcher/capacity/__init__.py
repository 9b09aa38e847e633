"""What a model takes of a GPU's memory, and what is left for its KV cache. Pure."""
