"""How vLLM reads the words of its command line before argparse does (`FlexibleArgumentParser`)."""

from __future__ import annotations

import re

from launcher.engines.dialect import Gone
from launcher.engines.options import Spoken

# `--a-b.c.d+`, `-cc.mode`: the option, and what of its JSON is set
MEMBER = re.compile(r"(-[^.]*)\.(.*)", re.DOTALL)
# Of releases before 0.16.0: its own deprecations, and what took their place.
GONE = {
    "enable-reasoning": Gone("leave it out: --reasoning-parser is enough", ("",)),
    "task": Gone("leave generate out; for others --runner and --convert", ("generate", "auto")),
    "use-v2-block-manager": Gone("leave it out: there is no other", ("",)),
    "num-scheduler-steps": Gone("leave it out: the scheduler has no such steps", ("*",)),
    "multi-step-stream-outputs": Gone("leave it out: the scheduler has no such steps", ("*",)),
    "preemption-mode": Gone("leave it out: requests are always computed again", ("*",)),
    "worker-use-ray": Gone("write --distributed-executor-backend ray"),
    "speculative-model": Gone("write --speculative-config '{\"model\": ...}'"),
    "num-speculative-tokens": Gone(
        "write --speculative-config '{\"num_speculative_tokens\": ...}'"
    ),
    "guided-decoding-backend": Gone("write --structured-outputs-config.backend"),
    "rope-scaling": Gone("write --hf-overrides '{\"rope_parameters\": ...}'"),
    "cuda-graph-sizes": Gone("write --cudagraph-capture-sizes"),
    # What is said of how to compile, as a whole or, `-O.mode 3`, in parts: argparse_utils.py of
    # 0.10 and 0.11.
    "O": Gone("write -cc for how to compile (-cc.mode 3); -O takes a level alone, -O0 to -O3"),
}
# Parts of JSON options, likewise: config/attention.py and config/compilation.py of 0.32.0, and
# names of 0.11 and before in recipes; recipes#992. 0.16.0 has `level` beside `mode`, for 0 to 3.
GONE_PARTS = {
    "compilation-config.level": "write mode",
    "compilation-config.pass_config.enable_fi_allreduce_fusion": "write fuse_allreduce_rms",
    "compilation-config.pass_config.enable_noop": "write eliminate_noops",
    "compilation-config.pass_config.enable_attn_fusion": "write fuse_attn_quant",
    "compilation-config.pass_config.enable_fusion": "write fuse_norm_quant and fuse_act_quant",
    "attention-config.use_fp4_indexer_cache": "write indexer_kv_dtype: mxfp4 for true, else fp8",
}
LEVELS = ("0", "1", "2", "3")
# `-O3`, `-O=3`: a level, or a word that is none
LEVEL = re.compile(r"-O=?([^.=].*)", re.DOTALL)


def reads(word: str, after: str) -> Spoken:
    """Underscores in a name are dashes, `--a.b c` sets `b` of a JSON option, `-O3` is the
    optimization level 3: so in all releases from 0.16.0 to 0.33.0. They take `-O.a` for a level,
    too, which it is not: read as the option that is gone, so that it is told.
    """
    level = LEVEL.fullmatch(word)
    if level or (word == "-O" and after in LEVELS):
        return Spoken("-O", "--optimization-level", level[1] if level else None)
    head, equals, value = word.partition("=")
    found = MEMBER.fullmatch(head)
    name, member = (found[1], found[2]) if found else (head, "")
    if name.startswith("--"):
        name = name.replace("_", "-")
    return Spoken(head, name, value if equals else None, member)
