"""A stand-in for SGLang's load generator."""
