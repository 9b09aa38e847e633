"""SGLang: how its options are spelled, how its log speaks, how its server is asked."""

from launcher.engines.key import Key

NAME = "SGLang"  # for people
PACKAGE = "sglang"  # the distribution, and what is imported
KEY = Key("config", 'api-key: "%s"\n')
