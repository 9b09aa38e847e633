"""From a profile whose layers were put together to the plan: the same for `render`, `up` and
`restart`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher.address import canonical
from launcher.config import abbreviations, canary, of_model, replicas
from launcher.config import nodes as several
from launcher.config.command import Command, chosen, command
from launcher.config.composed import Composed
from launcher.config.load import PlanRequest
from launcher.config.notes import notes, of_fabric
from launcher.config.profile import Profile
from launcher.engines import rules, traits
from launcher.engines.match import Case
from launcher.engines.target import Target, taken_for
from launcher.engines.traits import Identity
from launcher.errors import UserError
from launcher.plan.plan import Plan, for_node


@dataclass(frozen=True)
class _Resolved:
    """A profile as it is for a target: its options by the names of the release, `case` with what
    rules chose.
    """

    composed: Composed
    target: Target
    model: Identity
    case: Case

    @property
    def is_pointed(self) -> bool:
        """Whether rules choose for an operating point."""
        return self.composed.profile.rules.enabled and self.composed.profile.gpus > 0


def resolve(
    composed: Composed,
    ask: PlanRequest,
    folder: Path,
    environment: Mapping[str, str],
    target: Target | None = None,
) -> Plan:
    """The plan of a profile for a target; `folder` is where the running instance will keep its
    files.

    What the profile leaves open rules choose. `environment` are the GLM5_SERVE__
    variables that took part, kept so that a restart sees the same.
    """
    target = target or Target()
    composed = abbreviations.spelled_out(composed, target)
    composed = replicas.placed(composed, target.devices)
    profile = composed.profile
    model = traits.of(target.model, profile.flags.model_path)
    made = of_model.suited(
        composed.flags,
        composed.models,
        profile.flags.model_path,
        model,
        profile.engine.kind,
        changes=profile.rules.enabled,
    )
    composed = replace(composed, flags=made.flags, origin=composed.origin | made.origin)
    target = aimed(composed, target)
    late = several.too_new(profile, composed.dialect, target.known)
    kept = {name: value for name, value in composed.flags.items() if name not in late}
    composed = replace(composed, flags=kept)
    case = _case(composed, target, model)
    choice = chosen(composed, case)
    case = replace(case, flags=choice.flags, env=choice.env)
    resolved = _Resolved(composed, target, model, case)
    words = _words(composed, ask, environment)
    plan = _plan(resolved, command(composed, choice, target, folder), words, folder)
    plan = canary.settled(plan, profile, composed.dialect.memory.knobs.context)
    plan = for_node(plan, profile.nodes.rank) if profile.nodes and profile.nodes.rank else plan
    return replace(plan, notes=(*notes(plan, composed, target, model), *made.notes))


def aimed(composed: Composed, target: Target) -> Target:
    """The target with the profile's engine, and the architecture and product that it is made for,
    if none was said; none on a CPU.
    """
    target = replace(target, engine=composed.profile.engine.kind)
    if composed.profile.gpus == 0:
        return replace(target, arch=None)
    needs = composed.profile.needs
    arch = target.arch or needs.arch
    return taken_for(replace(target, arch=arch), int(needs.gpu_memory_gib * 2**30))


def _case(composed: Composed, target: Target, model: Identity) -> Case:
    profile = composed.profile
    return Case(
        target,
        composed.flags,
        profile.env,
        profile.gpus,
        model.traits,
        policy=profile.policy(),
        point=profile.operating_point,
    )


def _words(composed: Composed, ask: PlanRequest, environment: Mapping[str, str]) -> dict[str, Any]:
    """What `up` was told, so that a restart asks for the same."""
    return {
        "profile": f"{composed.path}{f'@{composed.replica}' if composed.replica else ''}",
        "settings": list(ask.settings),
        "api_key_file": ask.api_key_file,
        "health_listen": ask.health_listen,
        "environment": dict(environment),
    }


def _plan(resolved: _Resolved, made: Command, words: dict[str, Any], folder: Path) -> Plan:
    composed, target, model = resolved.composed, resolved.target, resolved.model
    profile, engine, is_pointed = composed.profile, composed.dialect, resolved.is_pointed
    port = profile.flags.port or engine.port
    _require_another_port(profile, port)
    return Plan(
        name=composed.name,
        program=(profile.engine.python, *engine.program),
        arguments=made.arguments,
        env=made.env,
        host=made.nodes[0].host if made.nodes else profile.flags.host,
        port=port,
        model=profile.flags.model_path,
        model_name=profile.flags.served_model_name or profile.flags.model_path,
        policy=profile.policy(),
        smoke=_smoke(resolved),
        settings=made.settings,
        words=words,
        key_file=profile.access.api_key_file,
        key_config=made.key_config,
        open_without_key=profile.access.open_without_key,
        health_listen=profile.access.health_listen or "",
        gateway=profile.behind,
        gpus=profile.gpus,
        arch=target.arch,
        needs_arch=profile.needs.arch,
        gpu=target.gpu,
        gpu_memory=int(profile.needs.gpu_memory_gib * 2**30),
        state=str(folder),
        allowed=tuple(profile.doctor.allow),
        point=profile.operating_point if is_pointed else "",
        left_out=tuple(map(str, rules.reasons(resolved.case))) if is_pointed else (),
        measured=tuple(of_fabric(resolved.case)) if is_pointed else (),
        ruled=profile.rules.enabled,
        engine=profile.engine.kind,
        release=target.release or target.nearest,
        doubt=_doubt(composed),
        traits=tuple(sorted(model.traits)),
        nodes=made.nodes,
        rendezvous=profile.nodes.port if profile.nodes else 0,
    )


def _smoke(resolved: _Resolved) -> dict[str, Any]:
    """What the smoke test asks; nothing where there is none."""
    profile, target = resolved.composed.profile, resolved.target
    if not profile.smoke.enabled:
        return {}
    kind = traits.thinking(target.model, resolved.model.family, profile.flags.model_path)
    return profile.smoke.model_dump(exclude={"enabled"}) | {"thinking": kind}


def _doubt(composed: Composed) -> str:
    what = composed.doubt.what if composed.doubt else ""
    return f"{what}: the interpreter that it names is not asked" if what else ""


def _require_another_port(profile: Profile, port: int) -> None:
    """Raise UserError where the launcher and its server would listen to one address."""
    host, _, told = (profile.access.health_listen or "").rpartition(":")
    hosts = {canonical(host.strip("[]")), canonical(profile.flags.host)}
    if told == str(port) and (len(hosts) == 1 or hosts & {"0.0.0.0", "::"}):
        raise UserError(
            f"access.health_listen: {profile.access.health_listen} is the server's own port",
            fix="choose another one for /ready and /live",
        )
