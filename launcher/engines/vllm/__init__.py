"""vLLM: how its options are spelled, how its log speaks, how its server is asked."""

from launcher.engines.key import Key

NAME = "vLLM"  # for people
PACKAGE = "vllm"  # the distribution, and what is imported
KEY = Key(variable="VLLM_API_KEY")
