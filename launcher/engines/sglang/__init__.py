"""SGLang: how its options are spelled, how its log speaks, how its server is asked."""

NAME = "SGLang"  # for people
PACKAGE = "sglang"  # the distribution, and what is imported
KEY_FILE = 'api-key: "%s"\n'  # what `--config` reads, with the key in place of %s
