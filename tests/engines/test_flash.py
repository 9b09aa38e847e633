"""GLM-5.3-Flash: other rules than GLM-5 has, and other faults."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rig.healthy import plan

from launcher.engines import issues, rules, traits
from launcher.engines.engine import dialect
from launcher.engines.issues import Issue
from launcher.engines.match import Case
from launcher.engines.target import ARCHS, Target
from launcher.host.facts import Model, known
from launcher.knowledge import models
from launcher.plan.plan import Plan

PROFILES = ("4xpro6000-glm53-flash", "4xb200-glm53-flash", "4xb300-glm53-flash")
SGLANG = dialect("sglang")
ROWS = rules.rules("sglang")
PRO6000, B200, B300 = PROFILES


def found(made: Plan, release: str = "0.5.23") -> list[Issue]:
    """What breaks it, or caps it: what is merely open to others, or needless, is not asked here."""
    met = issues.issues(issues.of_plan(made, release))
    return [issue for issue in met if issue.shows and not issue.advisory]


def told(release: str, *settings: str, profile: str = PRO6000) -> list[str]:
    return [issue.what for issue in found(plan(*settings, profile=profile), release)]


@pytest.mark.parametrize("profile", PROFILES)
def test_its_profiles_meet_no_fault_of_the_newest_release(profile: str) -> None:
    assert told("0.5.23", profile=profile) == []


@pytest.mark.parametrize("release", SGLANG.options.releases)
@pytest.mark.parametrize("arch", ARCHS)
def test_rows_for_flash_say_nothing_of_a_glm_5_and_the_other_way_round(
    release: str, arch: str
) -> None:
    for family, other in ((traits.GLM_5, traits.FLASH), (traits.FLASH, traits.GLM_5)):
        name = {traits.GLM_5: "nvidia/GLM-5-NVFP4", traits.FLASH: "nvidia/GLM-5.3-Flash-NVFP4"}
        model = traits.of(Model(), name[family]).traits
        target = Target(release, arch, memory=97887 << 20)
        case = Case(target, {"tp-size": 4}, {}, 4, model)
        chosen = [rule for rule, _ in rules.chosen(case)]

        assert not [rule.set for rule in chosen if other in rule.when.traits]


@pytest.mark.parametrize("rule", [rule for rule in ROWS if traits.FLASH in rule.when.traits])
def test_a_row_for_flash_holds_only_for_releases_that_know_it(rule: rules.Rule) -> None:
    if rule.set not in ("moe-runner-backend", "mem-fraction-static"):  # any release has these
        assert rule.when.release.first >= (0, 5, 20)


def test_a_config_json_decides_and_not_the_name() -> None:
    flash = Model(config=known({"architectures": "Glm5NextForConditionalGeneration"}))
    dense = Model(config=known({"architectures": "GlmMoeDsaForCausalLM"}))

    assert traits.FLASH in traits.of(flash, "org/GLM-5.3").traits
    assert traits.GLM_5 in traits.of(dense, "org/GLM-5.3-Flash").traits
    assert traits.GLM_5 not in traits.of(flash, "nvidia/GLM-5-NVFP4").traits


@pytest.mark.parametrize(
    ("release", "says"),
    [
        ("0.5.19", "does not know Glm5NextForConditionalGeneration"),
        ("0.5.20", "no attention for GLM-5.3-Flash on SM120"),
        ("0.5.21", "no attention for GLM-5.3-Flash on SM120"),
    ],
)
def test_a_release_that_is_too_old_is_told_before_it_is_started(release: str, says: str) -> None:
    assert any(says in what for what in told(release))


@pytest.mark.parametrize("family", [traits.GLM_5, traits.FLASH])
def test_the_fault_of_an_old_release_ends_where_the_model_is_known_first(family: str) -> None:
    [first] = [one.first["sglang"] for one in models.families() if one.id == family]
    [word, *_] = [one.architectures[0] for one in models.families() if one.id == family]
    rows = [row for row in issues.every_issue() if row.engine == "sglang"]
    [issue] = [row for row in rows if f"does not know {word}" in row.what]
    releases = SGLANG.options.releases
    last = ".".join(map(str, issue.when.release.last))

    assert releases.index(first) == releases.index(last) + 1


def test_on_b200_it_is_served_from_the_first_release_that_knows_it() -> None:
    assert told("0.5.21", profile=B200) == []
    [clamp] = told("0.5.20", profile=B200)  # of experts that later releases are served with
    assert "SwiGLU clamp" in clamp
    assert told("0.5.20", "flags.moe-runner-backend=flashinfer_trtllm", profile=B200) == []
    assert any("does not know" in what for what in told("0.5.19", profile=B200))


DSA = ("flags.dsa-prefill-backend", "flags.dsa-decode-backend")
FAULTY = [
    (tuple(f"{side}=false" for side in DSA), "gets trtllm kernels"),
    (tuple(f"{side}=trtllm" for side in DSA), "gets trtllm kernels"),
    (tuple(f"{side}=flashinfer_sparse_mla" for side in DSA), "flashinfer_sparse_mla refuses"),
    ((f"{DSA[0]}=false",), "tilelang for decode alone"),
    ((f"{DSA[1]}=false",), "tilelang for prefill alone"),
    (("flags.kv-cache-dtype=bfloat16",), "169,984 bytes of shared memory"),
    (("flags.max-mamba-cache-size=79",), "of --max-running-requests run"),
    (("flags.dcp-size=2",), "decode context parallelism is refused"),
]


@pytest.mark.parametrize(("settings", "says"), FAULTY)
def test_what_goes_wrong_with_it_is_told_and_sound_without(
    settings: tuple[str, ...], says: str
) -> None:
    skipped = 'rules.skip=["dsa-prefill-backend", "dsa-decode-backend"]'
    named = [f"{side}=tilelang" for side in DSA]
    said = [word for word in (*named, *settings) if not word.endswith("=false")]
    given = [word for word in said if word.partition("=")[0] not in {
        one.partition("=")[0] for one in settings if one.endswith("=false")
    }]  # fmt: skip

    assert [what for what in told("0.5.23", skipped, *given) if says in what]
    assert told("0.5.23", skipped, *named) == []


def test_deep_gemm_turned_off_wants_its_pre_norm_off_in_the_first_release() -> None:
    experts = "flags.moe-runner-backend=flashinfer_trtllm"
    made = plan("env.SGLANG_ENABLE_JIT_DEEPGEMM=0", experts, profile=B200)
    [wanted] = [row.id for row in issues.every_issue() if "hc_prenorm" in row.what]

    assert [issue.id for issue in found(made, "0.5.20")] == [wanted]
    assert found(made, "0.5.21") == []
    off = replace(made, env={**made.env, "SGLANG_OPT_DEEPGEMM_HC_PRENORM": "0"})
    assert found(off, "0.5.20") == []


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        ("4", "fewer slots for states than one request takes (5): none can run"),
        ("5", "the slots for states let 1 of --max-running-requests run: a request takes five"),
        ("39", "the slots for states let 7 of --max-running-requests run: a request takes five"),
        ("40", None),
    ],
)
def test_slots_for_states_are_told_as_what_they_let_run(slots: str, said: str | None) -> None:
    told_of = told(
        "0.5.23",
        f"flags.max-mamba-cache-size={slots}",
        "flags.max-running-requests=8",
    )

    assert [what for what in told_of if "slots for states" in what] == ([said] if said else [])
