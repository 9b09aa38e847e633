#!/usr/bin/env python3
"""Fill docs/vllm.md from the profile, the rules and the issues that it is about: `vllm_page.py`.

What stands between `<!-- NAME -->` and `<!-- end -->` is written anew; the rest is prose. A test
fails where page and rows differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from launcher import counting
from launcher.api import fit
from launcher.capacity.memory import GIB
from launcher.config.layers import PACKAGED
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.config.target import TargetOptions
from launcher.doctor.checks.engine import own_environment
from launcher.engines.engine import dialect
from launcher.engines.issues import Issue, every_issue
from launcher.engines.target import Target
from launcher.engines.traits import FLASH, NVFP4
from launcher.formats.shell import write
from launcher.output.budget import gib
from launcher.plan.evidence import Known
from launcher.plan.plan import Plan, Setting

PAGE = Path(__file__).parents[1] / "docs/vllm.md"
PROFILE, ARCH = "8xpro6000-vllm", "sm120"
BLOCK = re.compile(r"(?<=<!-- )(?!end)(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def plan() -> Plan:
    """The profile that the page is of, for the newest release that is known."""
    ask = PlanRequest(str(PACKAGED / f"{PROFILE}.toml"))
    target = Target(dialect("vllm").options.newest, ARCH, engine="vllm")
    return resolve(load(ask, {}), ask, Path("/state"), {}, target)


def command(made: Plan) -> str:
    """It as a shell takes it."""
    lines = [line for line in write(made).splitlines() if not line.startswith("#")]
    return "\n".join(["```sh", *lines, "```", ""])


def environment() -> str:
    """How vLLM gets an environment, as `doctor` says it where there is none."""
    folder, wanted = own_environment("vllm")
    lines = [
        f"sudo python3 -m venv {folder}",
        f"sudo {folder}/bin/pip install {wanted}",
        f"export PATH={folder}/bin:$PATH CUDA_HOME=/usr/local/cuda",
    ]
    return "\n".join(["```sh", *lines, "```", ""])


def reasons(made: Plan) -> str:
    """Each flag and variable, why it is there, and how that is known."""
    head = ["| flag or variable | value | why | known |", "|---|---|---|---|"]
    return "\n".join([*head, *map(_reason, made.settings), ""])


def _reason(setting: Setting) -> str:
    known = f"{setting.known}: {setting.source}" if setting.known else "the profile's own, not run"
    value = f"`{setting.value}`" if setting.value else ""
    return f"| `{setting.name}` | {value} | {setting.why} | {_marked(known)} |"


def memory(made: Plan) -> str:
    """What `fit` says of a GPU: the same call."""
    told = fit.estimate(fit.FitRequest(PROFILE, aim=TargetOptions(made.release, engine="vllm")), {})
    size, low, high = told.fit, *(one / GIB for one in told.fit.working)
    share = size.base * size.fraction / GIB
    rest = share - size.weights / GIB
    return (
        f"By `glm5-serve fit {PROFILE}`, for vLLM {made.release}: of {gib(size.base)}"
        f" `--gpu-memory-utilization {size.fraction:g}` is {share:.1f};\nweights take"
        f" {gib(size.weights)}, CUDA graphs, activations, workspaces and NCCL {low:.1f} to"
        f" {high:.1f} (estimated from logs).\n{rest - high:.1f} to {rest - low:.1f} GiB are left:"
        f" {size.tokens:,} to {size.at_best:,} tokens, room for"
        f" {counting.of(size.requests[size.context], 'request')} of {size.context:,}.\n"
    )


def faults(*, advisories: bool) -> str:
    """What goes wrong with GLM-5 on this GPU: the advisories, or the rest."""
    head = ["| what is set | what goes wrong | what helps | known |", "|---|---|---|---|"]
    return "\n".join([*head, *(_fault(row) for row in _of_page(advisories=advisories)), ""])


def _of_page(*, advisories: bool) -> Iterator[Issue]:
    for row in every_issue():
        suits = (not row.when.gpu or ARCH in row.when.gpu) and FLASH not in row.when.traits
        suits &= NVFP4 not in row.when.without  # which the page's checkpoint is
        if row.engine == "vllm" and suits and bool(row.advisory) == advisories:
            yield row


def _fault(row: Issue) -> str:
    where = f" ({row.when.release})" if str(row.when.release) else ""
    named = ", ".join(f"`{'--' * (not name.isupper())}{name}`" for name in row.blames[:2])
    known = f"{row.known}: {row.source}"
    what = row.what.replace("{", "<").replace("}", ">").replace("|", "\\|")
    fix = row.fix.replace("{", "<").replace("}", ">")
    title = f"{row.advisory}: " if row.advisory else ""
    return f"| {named}{where} | {title}{what} | {fix} | {_marked(known)} |"


def _marked(known: str) -> str:
    """As the page says it: what was read was not run."""
    return known.replace(f"{Known.READ}:", "from the source, not run:", 1)


def filled(text: str) -> str:
    """The page with its blocks written anew."""
    made = plan()
    blocks = {
        "environment": environment(),
        "command": command(made),
        "reasons": reasons(made),
        "memory": memory(made),
        "faults": faults(advisories=False),
        "advisories": faults(advisories=True),
    }
    return BLOCK.sub(lambda found: f"{found[1]}{found[2]}{blocks[found[1]]}", text)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
