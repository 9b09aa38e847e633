"""Known issues: what the rows that lint judges by, too, say of this plan and this environment."""

from __future__ import annotations

from launcher import counting
from launcher.doctor.checks.engine import before_all, release
from launcher.doctor.checks.judging import Verdict, ok, sample, warn
from launcher.doctor.checks.rows import case, found
from launcher.engines import issues
from launcher.engines.engine import dialect
from launcher.engines.tables import complaints
from launcher.host.facts import Host, UnobservedError
from launcher.plan.plan import Plan

GROUP = "known issues"


def known_issues(host: Host, plan: Plan) -> Verdict:
    """Somebody looked at every known issue again for the engine's release.

    Each that concerns this profile is a finding of its own. What older releases had, and nobody
    looked at again, may still be so.

    Source: each row has its own.
    """
    if broken := complaints((plan.engine,)):
        return warn(f"left out: {sample(broken)}", fix="correct these rows, or install again")
    installed = release(host, plan.engine)
    old = issues.unchecked(case(host, plan, installed))
    if old:
        told = "; ".join(f"{issue.id} (up to {issue.checked}): {issue.what}" for issue in old)
        return warn(
            f"not looked at for {dialect(plan.engine).name} {installed}: {told}", fix=old[0].fix
        )
    if older := before_all(installed, plan):
        raise UnobservedError(f"{older}: what else goes wrong with it nobody looked at")
    count, every = len(found(host, plan)), issues.every_issue((plan.engine,))
    concerns = f"{count or 'none'} concern{'s' * (count < 2)} this profile"
    return ok(
        f"{counting.of(len(every), 'row')} for {dialect(plan.engine).name} {installed}, {concerns}"
    )
