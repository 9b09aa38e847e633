"""A request to a plan's server, to paste into a shell: what somebody does first with it."""

from __future__ import annotations

import json
import shlex

from launcher.address import bracketed, to_ask
from launcher.plan.plan import Plan

QUESTION = "What is 6 times 7?"  # where the profile has none of its own


def write(plan: Plan) -> str:
    """One command over some lines, which asks what the smoke test asks first: the model knows it.
    Its key is read where it is run, and is in no history.
    """
    url = f"http://{bracketed(to_ask(plan.host))}:{plan.port}/v1/chat/completions"
    asked = [question["ask"] for question in plan.smoke.get("questions", ())]
    message = {"role": "user", "content": asked[0] if asked else QUESTION}
    begins = json.dumps({"model": plan.model_name}, ensure_ascii=False).removesuffix("}")
    asks = json.dumps(message, ensure_ascii=False)
    body = f'{begins}, "messages": [\n    {asks}]}}'  # a line end, so that 80 columns break none
    parts = [f"curl {shlex.quote(url)}", "-H 'Content-Type: application/json'"]
    if plan.key_file:
        # Quotes within a substitution are its own.
        parts.append(f'-H "Authorization: Bearer $(cat {shlex.quote(plan.key_file)})"')
    parts.append(f"-d {shlex.quote(body)}")
    return " \\\n  ".join(parts)
