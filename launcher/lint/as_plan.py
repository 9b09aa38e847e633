"""A launch as a plan, for whatever judges plans. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from launcher.counting import LARGEST, is_endless
from launcher.engines import traits
from launcher.engines.engine import dialect
from launcher.engines.members import whole
from launcher.engines.options import Given, Release
from launcher.engines.target import Target
from launcher.formats.launches import Launch
from launcher.host.facts import Model
from launcher.knowledge import models
from launcher.lint.by_option import canonical_name
from launcher.plan.plan import Plan, Setting
from launcher.plan.policy import Policy

# A model in the cache of a hub, within a command: `$(ls -d .../models--OWNER--NAME/snapshots/*/)`.
_FOLDER = re.compile(r"\bmodels--([\w.-]+?)--([\w.-]+)")


def as_plan(launch: Launch, givens: Sequence[Given], target: Target, within: Release) -> Plan:
    """The launch as a plan, for issues to be found in: its flags under their canonical names."""
    settings = {}
    for given in whole(givens):
        if given.option or given.word.startswith("-"):
            # a switch and what turns it off are one setting: the last one counts
            settings[within.catalogue.canonical(given.name.lstrip("-"))] = Setting(
                given.word,
                " ".join(str(LARGEST) if is_endless(value) else value for value in given.values),
                "the command",
                "",
                option=canonical_name(given, within),
            )
    values = {setting.option: setting.value for setting in settings.values()}

    def count(name: str) -> int:
        return max(1, int(values[name])) if values.get(name, "").isdecimal() else 1

    engine = dialect(target.engine)
    named = engine.option_of
    path = values.get(named("model_path"), "")
    called, how = _called(launch, target.model, path, values.get(named("served_model_name"), ""))
    model = traits.of(target.model, called or path)
    taken = f"{path or 'its model'} is taken for {called}, {how}" if called else model.note
    is_shared = named("enable_dp_attention") in values
    replicas = 1 if is_shared else count(named("dp_size"))
    ranks = count(named("tp_size")) * count(named("pp_size")) * replicas
    return Plan(
        name="the command",
        program=("python3", *engine.program),
        arguments=launch.words,
        env=dict(launch.env),
        host=values.get("host", engine.host),
        port=0,
        model=called or path,
        model_name="",
        policy=Policy(),
        settings=tuple(settings.values()),
        words={},
        gpus=max(1, ranks // count("nnodes")),
        arch=target.arch,
        engine=target.engine,
        gpu=target.gpu,
        release=target.nearest,
        traits=tuple(sorted(model.traits)),
        notes=(taken,) if taken else (),
    )


def _called(launch: Launch, model: Model, path: str, names: str) -> tuple[str, str]:
    """The known model that a checkpoint is, and how that is known, where its own path says nothing
    and nobody read its config.json: what is mounted there, the one folder of a hub that its own
    text names, else the name under which it is served; "" for all others, and for a command that
    has no checkpoint: an engine has one of its own for that.
    """
    folders = {*_FOLDER.findall(path)} if path.startswith(("$(", "`")) else set()
    told = [("/".join(one), "whose folder it looks up") for one in folders if len(folders) == 1]
    is_named = models.is_id(path) or (models.by_name(path) and not told)
    if model != Model() or is_named or not (path or not launch.program):
        return "", ""
    told += [(launch.mounted(path), "which is mounted there")]
    told += [(name, "as it is served") for name in names.split()]
    return next(((name, how) for name, how in told if models.by_name(name)), ("", ""))
