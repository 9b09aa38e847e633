"""What the rules choose, release by release and GPU by GPU, and that a profile's own words
stand.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from conftest import TESTS, World
from rig import healthy

from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.engines.engine import dialect
from launcher.engines.rules import Rule, rules
from launcher.engines.target import ARCHS, Target, of
from launcher.host import facts_json
from launcher.host.facts import Model, known
from launcher.host.measured import loads
from launcher.plan.plan import POINTS, Plan, from_json, to_json

CATALOGUE = dialect("sglang").options
KNOWS_GLM = CATALOGUE.releases[1:]
DENSE_FP8 = range(15, 17)  # 0.5.15 and 0.5.16: fp8 KV was measured with flashinfer attention


def plan(*settings: str, profile: str = "8xpro6000", **target: object) -> Plan:
    ask = PlanRequest(profile, settings)
    aim = Target(**{"release": "0.5.23", **target})  # type: ignore[arg-type]
    return resolve(load(ask, {"HOME": "/home/op"}), ask, Path("/state"), {}, aim)


@pytest.mark.parametrize("release", KNOWS_GLM)
def test_on_sm120_attention_and_kv_cache_agree_in_every_release(release: str) -> None:
    seen = plan(release=release)
    attention, kv = seen.flag("attention-backend"), seen.flag("kv-cache-dtype")
    sparse = seen.flag("dsa-prefill-backend")

    patch = int(release.rpartition(".")[2])
    if patch >= 18:
        assert (attention, kv, sparse) == (None, "fp8_e4m3", "flashinfer_sparse_mla")
    elif patch in DENSE_FP8:
        assert (attention, kv, sparse) == ("flashinfer", "fp8_e4m3", None)
        assert seen.env["SGLANG_DISABLE_DSA_INDEXER_FUSION"] == "1"
    else:
        assert (attention, kv, sparse) == ("flashinfer", "bfloat16", None)
    assert seen.flag("moe-runner-backend") == "flashinfer_cutlass"
    assert (seen.flag("disable-shared-experts-fusion") is not None) == (patch <= 17)
    assert ("SGLANG_ENABLE_PCIE_IPC_ALLREDUCE" in seen.env) == (patch >= 21)
    assert int(seen.flag("watchdog-timeout") or 0) >= 1200
    assert "fusion" not in " ".join(seen.argv).replace("disable-shared-experts-fusion", "")


@pytest.mark.parametrize("arch", ["sm100", "sm103"])
def test_on_b200_and_b300_the_experts_take_the_kernel_that_does_not_fault(arch: str) -> None:
    seen = plan(profile="8xb200", arch=arch)

    assert (seen.flag("dsa-prefill-backend"), seen.flag("moe-runner-backend")) == (
        "trtllm",
        "flashinfer_cutlass",
    )
    assert "flashinfer_trtllm" in next(
        s.against for s in seen.settings if s.name == "--moe-runner-backend"
    )
    assert "NCCL_P2P_LEVEL" not in seen.env


def test_the_contrary_of_an_option_in_a_profile_stands() -> None:
    """An option of vLLM has a name that negates it."""
    made = plan("flags.no-disable-custom-all-reduce=true", profile="8xpro6000-vllm")

    assert "--no-disable-custom-all-reduce" in made.arguments
    assert "--disable-custom-all-reduce" not in made.arguments


def test_the_word_of_a_profile_stands() -> None:
    seen = plan(
        "flags.moe-runner-backend=cutlass", "env.NCCL_P2P_LEVEL=PXB", "flags.watchdog-timeout=false"
    )

    assert seen.flag("moe-runner-backend") == "cutlass"
    assert seen.env["NCCL_P2P_LEVEL"] == "PXB"
    assert seen.flag("watchdog-timeout") is None


def test_a_setting_can_be_kept_from_the_rules_and_all_of_them_off() -> None:
    skipped = plan('rules.skip=["NCCL_P2P_LEVEL", "mem-fraction-static"]')
    bare = plan("rules.enabled=false")

    assert "NCCL_P2P_LEVEL" not in skipped.env
    assert skipped.flag("mem-fraction-static") is None
    assert bare.env == {}
    assert bare.flag("quantization") is None


def test_a_dense_backend_that_was_asked_for_gets_a_cache_that_it_can_read() -> None:
    assert plan("flags.attention-backend=flashinfer").flag("kv-cache-dtype") == "bfloat16"


def test_bfloat16_that_was_asked_for_gets_a_backend_that_has_it() -> None:
    assert plan("flags.kv-cache-dtype=bfloat16").flag("attention-backend") == "flashinfer"


@pytest.mark.parametrize(
    ("farthest", "nodes", "level"),
    [
        ("SYS", 2, "SYS"),
        ("NODE", 1, "PHB"),
        ("PHB", 1, "PHB"),
        ("PXB", 1, None),
        ("PIX", 1, None),
        (None, None, "SYS"),
        (None, 2, "SYS"),
        (None, 1, "PHB"),
    ],
)
def test_the_p2p_level_joins_the_gpus_that_are_farthest_apart(
    farthest: str | None, nodes: int | None, level: str | None
) -> None:
    assert plan(farthest=farthest, numa_nodes=nodes).env.get("NCCL_P2P_LEVEL") == level


def test_infiniband_is_switched_off_only_where_it_may_be() -> None:
    assert "NCCL_IB_DISABLE" in plan(infiniband=None).env
    assert "NCCL_IB_DISABLE" in plan(infiniband=True).env
    assert "NCCL_IB_DISABLE" not in plan(infiniband=False).env


def test_no_rule_sets_what_something_that_was_asked_for_makes_inert_or_crash() -> None:
    off = plan("env.NCCL_P2P_DISABLE=1", numa_nodes=2)
    segments = plan("env.PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True")

    assert "NCCL_P2P_LEVEL" not in off.env
    assert "SGLANG_ENABLE_PCIE_IPC_ALLREDUCE" not in segments.env
    assert "SGLANG_ENABLE_PCIE_IPC_ALLREDUCE" in off.env


def test_the_checkpoints_own_word_is_taken_before_its_name() -> None:
    llama = Model(
        config=known({"architectures": "LlamaForCausalLM"}),
        quantisation=known(None),
        excluded=known(()),
    )
    seen = plan(model=llama)

    assert (
        seen.flag("kv-cache-dtype", "quantization", "dsa-prefill-backend", "moe-runner-backend")
        is None
    )
    assert seen.flag("watchdog-timeout") == "1800"


def test_shared_experts_that_are_quantised_stay_fused() -> None:
    config = known({"architectures": "GlmMoeDsaForCausalLM"})
    whole = Model(config=config, quantisation=known("NVFP4"), excluded=known(("lm_head",)))
    apart = replace(whole, excluded=known(("model.layers.*.mlp.shared_experts*",)))

    assert plan(release="0.5.17", model=whole).flag("disable-shared-experts-fusion") is None
    assert plan(release="0.5.17", model=apart).flag("disable-shared-experts-fusion") == ""


def test_old_names_become_new_ones_and_new_ones_old() -> None:
    asked = ("flags.nsa-prefill-backend=trtllm", "flags.cuda-graph-max-bs=16")
    newest, old = plan(*asked), plan("flags.cuda-graph-max-bs-decode=16", release="0.5.12")

    assert (newest.flag("dsa-prefill-backend"), newest.flag("cuda-graph-max-bs-decode")) == (
        "trtllm",
        "16",
    )
    assert old.flag("cuda-graph-max-bs-decode") == "16"
    assert ("--cuda-graph-max-bs", "16") in {(s.name, s.value) for s in old.settings}


def test_attention_data_parallelism_is_one_option_or_two() -> None:
    newest = plan("flags.enable-dp-attention=true", "flags.dp-size=8")
    old = plan("flags.attn-dp-size=8", release="0.5.20")

    assert (newest.flag("attn-dp-size"), newest.flag("enable-dp-attention", "dp-size")) == (
        "8",
        None,
    )
    assert (old.flag("dp-size"), old.flag("enable-dp-attention")) == ("8", "")
    assert newest.gpus == 8


def test_speculative_decoding_gets_as_many_draft_tokens_as_it_uses() -> None:
    assert plan(profile="8xb200-mtp").flag("speculative-num-draft-tokens") == "4"
    assert plan(profile="8xb200-glm52-mtp").flag("speculative-num-draft-tokens") == "6"
    assert plan(profile="8xb200-mtp", release="0.5.12").env["SGLANG_ENABLE_SPEC_V2"] == "True"


def test_what_is_newer_or_unknown_is_said() -> None:
    assert "0.9.1 is newer" in plan(release="0.9.1").notes[0]
    assert "unknown" in plan(release=None).notes[0]
    assert not plan(release="0.5.23.post1").notes


def test_a_plan_keeps_how_each_value_is_known() -> None:
    seen = plan()
    kept = from_json(to_json(seen))

    assert kept == seen
    assert {s.known for s in seen.settings} == {None, "reported", "source"}


def test_a_cpu_gets_no_rules() -> None:
    assert plan(profile="cpu-demo").flag("watchdog-timeout", "mem-fraction-static") == "0.1"


def test_the_target_of_a_host_is_what_its_facts_say() -> None:
    target = of(healthy.host())

    assert (target.release, target.arch, target.farthest) == ("0.5.23", "sm120", "SYS")
    assert (target.numa_nodes, target.infiniband, target.memory) == (2, False, 97887 << 20)


@cache
def reached() -> set[tuple[str, str]]:
    """Conditions and settings over releases and architectures, and in the cases that only few rules
    look at.
    """
    asked = [(), ("flags.attention-backend=flashinfer",), ("flags.kv-cache-dtype=bfloat16",)]
    everywhere = (
        plan(*words, profile=profile, release=release, arch=arch)
        for profile in ("8xpro6000", "8xb200-mtp", "4xpro6000-glm53-flash")
        for release in CATALOGUE.releases
        for arch in ARCHS
        for words in asked
    )
    at_points = (
        plan(f"operating_point={point}", *words, profile=profile, release=release, arch=arch)
        for profile, *words in (
            ("8xpro6000",),
            ("8xb200",),
            ("8xb200-glm52",),
            ("8xb200-glm52", "flags.model-path=zai-org/GLM-5.2-FP8"),
            ("4xb200-glm53-flash",),
        )
        for release in ("0.5.20", "0.5.23")
        for arch in ARCHS
        for point in POINTS
    )
    figures = (TESTS / f"data/fabric/8xpro6000-{name}.json" for name in ("broken", "interleaved"))
    on_measured = (plan(measured=loads(file.read_text())) for file in figures)
    return {
        (setting.layer, setting.name.removeprefix("--"))
        for one in (*everywhere, *at_points, *on_measured)
        for setting in one.settings
    }


@pytest.mark.parametrize("rule", rules("sglang"), ids=lambda rule: f"{rule.set}-{rule.condition}")
def test_every_rule_is_reached(rule: Rule) -> None:
    old = {
        "cuda-graph-max-bs-decode": "cuda-graph-max-bs",
        "dsa-prefill-backend": "nsa-prefill-backend",
    }

    assert {
        (f"rule: {rule.condition}", name) for name in (rule.set, old.get(rule.set, rule.set))
    } & reached()


def test_render_resolves_for_another_hosts_facts(world: World, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    old = healthy.having(
        healthy.host(),
        engine__packages={"sglang": "0.5.16"},
        driver__topology=(("X", "PIX"), ("PIX", "X")),
    )
    file.write_text(json.dumps(facts_json.to_json(old)))
    said = world.run("render", "-p", "8xpro6000", "--facts", str(file))

    assert "sm120, SGLang 0.5.16" in said.stdout
    assert "SGLANG_DISABLE_DSA_INDEXER_FUSION=1" in said.stdout
    assert "NCCL_P2P_LEVEL" not in said.stdout
    assert "NCCL_IB_DISABLE" not in said.stdout


def test_explain_prints_the_rule_its_source_and_the_other_side(world: World) -> None:
    said = world.run(
        "render", "-p", "8xpro6000", "--arch", "sm120", "--release", "0.5.23", "--explain"
    )
    [line] = [line for line in said.stdout.splitlines() if line.startswith("--kv-cache-dtype")]

    assert line.split()[1:5] == ["fp8_e4m3", "rule:", "sm120", ">=0.5.18"]
    assert "(reported: NVIDIA's GKE recipe" in line
    assert "against: rtx6kpro" in line


def test_diff_tells_what_an_update_would_change(world: World) -> None:
    words = ("diff", "8xpro6000", "8xpro6000", "--release", "0.5.16")
    said = world.run(*words, "--to-release", "0.5.23")
    told = json.loads(world.run(*words, "--to-release", "0.5.23", "--json").stdout)

    assert said.returncode == 1
    assert "- --attention-backend flashinfer" in said.stdout
    assert "+ --dsa-prefill-backend flashinfer_sparse_mla" in said.stdout
    assert {"name": "--attention-backend", "after": None}.items() <= told["changes"][0].items()
    same = world.run(*words)
    assert (same.returncode, same.stdout.splitlines()[-1]) == (0, "no difference")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--release", "new"), "'new' is not a release"),
        (("--arch", "sm90"), "NVFP4 needs Blackwell: --arch sm100, sm103, sm120"),
        (("--arch", "sm121"), "it is Blackwell, and not supported: what is known here is of"),
        (("--arch", "sm110"), "it is Blackwell, and not supported"),
        (("--gpu", "gb10"), "no rules for sm121: gb10"),
        (("--gpu", "RTX 5070"), "not a GPU that is known here"),
        (("--gpu", "none-such"), "not a GPU that is known here"),
        (("--facts", "/nowhere"), "cannot read /nowhere"),
    ],
)
def test_another_host_that_is_none_is_said(world: World, words: tuple[str, ...], says: str) -> None:
    said = world.run("render", "-p", "8xpro6000", *words)

    assert said.returncode in (2, 78)
    assert says in said.stderr
