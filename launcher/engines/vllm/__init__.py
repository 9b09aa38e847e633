"""vLLM: how its log speaks, and what ends it. It is not started here."""
