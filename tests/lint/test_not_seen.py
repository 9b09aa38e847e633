"""What a text does not say is asserted only where all of it was seen; what it says in part, in
prose, or of a build that is no release is judged for no more than that.
"""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.errors import UserError
from launcher.formats.container import unreleased
from launcher.formats.reading import read
from launcher.lint.lint import Entry
from launcher.lint.run import Judged, judge

OPEN = (
    "vllm serve nvidia/GLM-5.2-NVFP4 -tp 8 --max-model-len 131072 --max-num-seqs 16 --host 0.0.0.0"
)
POD = f"""apiVersion: v1
kind: Pod
metadata: {{name: g}}
spec:
  containers:
  - name: g
    image: vllm/vllm-openai:v0.33.0
    envFrom: [{{configMapRef: {{name: x}}}}]
    args: [{", ".join(repr(word) for word in OPEN.split()[2:])}]
"""


def judged(text: str, gpu: str = "pro6000", arch: str = "sm120") -> list[Judged]:
    return list(judge(text, Target(None, arch, gpu)).launches)


def one(text: str, gpu: str = "pro6000", arch: str = "sm120") -> list[Entry]:
    [found] = judged(text, gpu, arch)
    [told] = found.releases.values()
    return list(told)


def said(text: str, gpu: str = "pro6000", arch: str = "sm120") -> str:
    return " ".join(entry.why for entry in one(text, gpu, arch) if entry.concerns)


@pytest.mark.parametrize(
    "text",
    [
        f"source env.sh\n{OPEN}\n",
        f"set -a; . ./secrets; set +a\n{OPEN}\n",
        f"docker run --env-file e vllm/vllm-openai:v0.33.0 {OPEN[11:]}\n",
        f"[Service]\nEnvironmentFile=-/etc/glm\nExecStart=/usr/bin/{OPEN}\n",
        POD,
    ],
)
def test_no_key_is_missed_where_one_may_stand_in_a_file(text: str) -> None:
    [found] = judged(text)

    assert "without a key" not in said(text)
    assert "600 s" not in said(text)
    assert any(
        "not judged, for what is not read may set it: a key, VLLM_" in n for n in found.notes
    )
    assert any("not read" in note for note in found.notes)


@pytest.mark.parametrize("before", ["", "source .venv/bin/activate\n", ". /opt/x/conda.sh\n"])
def test_one_is_missed_where_all_was_seen(before: str) -> None:
    [found] = judged(f"{before}{OPEN}\n")

    assert "without a key" in said(f"{before}{OPEN}\n")
    assert not any("may set it" in note for note in found.notes)


def test_what_a_file_cannot_change_is_said() -> None:
    assert "glm47" in said(f"source env.sh\n{OPEN} --tool-call-parser glm45\n")


def test_a_part_of_a_command_is_not_told_what_it_lacks() -> None:
    part = "```\n--decode-context-parallel-size 4 --dcp-comm-backend ag_rs\n--max-model-len 262144\n```\n"

    assert said(part) == ""
    assert "do not divide" in said(f"vllm serve m -tp 1 {part.splitlines()[1]}\n")
    assert "refused" in said("--tensor-parallel-size 8 --swap-space 4\n")


@pytest.mark.parametrize("path", ["$MODELS_DIR/GLM-5.2-NVFP4", "${D:?}/x/GLM-5.2-NVFP4"])
def test_a_folder_somewhere_is_known_by_its_last_part(path: str) -> None:
    [found] = judged(f"vllm serve {path} -tp 8 --host 127.0.0.1 --quantization fp8\n")

    assert "another quantisation" in said(f"vllm serve {path} -tp 8 --quantization fp8\n")
    assert not any("is not judged" in note for note in found.notes)


@pytest.mark.parametrize("path", ["$MODEL", "$D/$NAME", "$D/current", "${M:-$D}/v2"])
def test_one_that_names_no_model_is_unknown(path: str) -> None:
    [found] = judged(f"vllm serve {path} -tp 8 --host 127.0.0.1 --quantization fp8\n")

    assert any("not judged" in note for note in found.notes)


@pytest.mark.parametrize("engine", ["sglang serve --model-path m", "vllm serve m"])
@pytest.mark.parametrize("key", ['"$KEY"', "${KEY}", "$(cat f)", "sk-1234567890"])
def test_a_key_among_the_words_is_seen_wherever_it_comes_from(engine: str, key: str) -> None:
    assert "`ps`" in said(f"{engine} --host 127.0.0.1 --api-key {key}\n")


def test_one_in_the_environment_is_not() -> None:
    assert "`ps`" not in said(f"export VLLM_API_KEY=$KEY\n{OPEN}\n")


def test_a_checkpoint_of_other_bits_has_no_known_size() -> None:
    small = "vllm serve /m/GLM-5.3-Flash-NVFP4{} -tp 2 --max-model-len 100000 --max-num-seqs 4\n"

    assert "no KV cache" in said(small.format(""))
    for bits in ("-4p67", "-4.67bpw", "-3bit", "-5p0bpw"):
        assert "KV cache" not in said(small.format(bits)), bits


# -- Markdown --------------------------------------------------------------------------------------

PARAGRAPH = """1. GLM: `vllm serve nvidia/GLM-5.3-NVFP4 --tensor-parallel-size 8
   --max-num-seqs 64 --max-model-len 131072 \\
   --host 127.0.0.1` (ok). Adjust only if `--port` is taken.
2. Small: `vllm serve zai-org/GLM-5-FP8 -tp 8`
"""


def test_code_within_a_paragraph_is_one_line() -> None:
    first, second = read(PARAGRAPH).launches

    assert first.words[1:] == (
        *("--tensor-parallel-size", "8", "--max-num-seqs", "64", "--max-model-len", "131072"),
        *("--host", "127.0.0.1"),
    )
    assert (first.notes, second.words) == ((), ("zai-org/GLM-5-FP8", "-tp", "8"))


@pytest.mark.parametrize("between", ["\n\n", "\n- ", "\n2. ", "\n# "])
def test_code_ends_with_its_paragraph(between: str) -> None:
    text = f"run `vllm serve m --port 1{between}the price is `--port 2` there\n"

    assert all("--port 2" not in " ".join(one.words) for one in read(text).launches)


@pytest.mark.parametrize("left_out", ["...", "\u2026", "nvidia/GLM-5.2-NVFP4 ... --port 8000"])
def test_an_example_with_words_left_out_is_no_command(left_out: str) -> None:
    found = read(f"```bash\nvllm serve m -tp 8\nA=1 vllm serve {left_out}\n```\n")

    assert [one.words for one in found.launches] == [("m", "-tp", "8")]
    assert found.unread == ("line 3 leaves words of a launch out (...): not judged",)
    with pytest.raises(UserError, match="leaves words"):
        judge(f"vllm serve {left_out}\n", Target(None, "sm120"))


def test_two_backslashes_at_the_end_of_a_line_are_told_and_read_over() -> None:
    [found] = judged("vllm serve m \\\\\n  --max-lora-rank 8 \\\\\n  --port 1\n")

    assert found.launch.words == ("m", "--max-lora-rank", "8", "--port", "1")
    assert any("two backslashes" in note for note in found.notes)
    assert not found.is_sound


# -- images ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "is_one"),
    [
        ("lmsysorg/sglang:v0.5.20", True),
        ("lmsysorg/sglang:v0.5.16-cu130-runtime", True),
        ("sglang:v0.5.10.post1-cu129-amd64", True),
        ("vllm/vllm-openai:v0.32.0-cu129", True),
        ("vllm/vllm-openai:v0.32.0@sha256:00ff", True),
        ("lmsysorg+sglang+v0.5.5.sqsh", True),
        ("sglang:v0.5.16-dsv4-sm120", False),
        ("vllm:v0.25.0-fix", False),
        ("vllm/vllm-openai:v0.32.0-patched", False),
    ],
)
def test_a_tag_with_more_behind_the_release_is_none(image: str, is_one: bool) -> None:
    assert (unreleased(image) == "") is is_one


def test_a_build_of_somebodys_may_take_what_no_release_does() -> None:
    run = "docker run {} python3 -m sglang.launch_server --model-path m --tp-size 8"
    odd = "--prefix-affinity-fallback round_robin --load-balance-method prefix_affinity"
    ours, theirs = (run.format(f"sglang:v0.5.16{tag}") for tag in ("", "-dsv4-sm120"))

    assert "no release" in said(f"{ours} {odd}\n")
    assert said(f"{theirs} {odd}\n") == said(f"{theirs}\n")
    assert "not judged" in " ".join(entry.why for entry in one(f"{theirs} {odd}\n"))
    assert "--mem-fraction-static" in str(one(f"{theirs} --mem-fraction-sttic 0.8\n"))
    [found] = judged(f"{theirs}\n")
    assert any("0.5.16" in note and "may be patched" in note for note in found.notes)


# -- how long a stop may take ----------------------------------------------------------------------

DRAINS = f"{OPEN} --shutdown-timeout 100"
COMPOSE = "services:\n  g:\n    image: vllm/vllm-openai:v0.33.0\n{}    command: {}\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (COMPOSE.format("    stop_grace_period: 1m\n", DRAINS[11:]), "stop_grace_period"),
        (COMPOSE.format("", DRAINS[11:]), "stop_grace_period"),
        (COMPOSE.format("    stop_grace_period: 2m\n", DRAINS[11:]), ""),
        (f"[Service]\nTimeoutStopSec=1min 30s\nExecStart=/usr/bin/{DRAINS}\n", "TimeoutStopSec"),
        (f"[Service]\nExecStart=/usr/bin/{DRAINS}\n", "TimeoutStopSec"),
        (f"[Service]\nTimeoutStopSec=infinity\nExecStart=/usr/bin/{OPEN}\n", ""),
        (f"[Service]\nTimeoutStopSec=3min\nExecStart=/usr/bin/{DRAINS}\n", ""),
        (
            f"docker run --stop-timeout 60 vllm/vllm-openai:v0.33.0 {DRAINS[11:]}\n",
            "--stop-timeout",
        ),
        (f"{DRAINS}\n", ""),
    ],
)
def test_a_server_that_may_end_later_than_it_is_killed_is_told(text: str, name: str) -> None:
    told = [entry.name for entry in one(text) if "it is killed after" in entry.why]

    assert told == ([name] if name else [])


def test_a_pod_is_killed_after_its_grace_or_half_a_minute() -> None:
    pod = POD.replace("'-tp'", "'--shutdown-timeout', '100', '-tp'")
    long = pod.replace("spec:\n", "spec:\n  terminationGracePeriodSeconds: 130\n")

    assert "killed after 30 s" in said(pod)
    assert "killed after" not in said(long)


def test_what_is_proposed_ends_before_that() -> None:
    [entry] = [
        entry
        for entry in one(COMPOSE.format("    stop_grace_period: 60s\n", OPEN[11:]))
        if "aborts the requests" in entry.why
    ]
    told = [concern.instead for concern in entry.concerns]

    assert "--shutdown-timeout 50 (stop_grace_period is 60s)" in told


# -- reported of one GPU ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "gpu", "arch", "is_told"),
    [
        ("", "b300", "sm103", True),
        ("--moe-backend flashinfer_trtllm", "b300", "sm103", True),
        ("--moe-backend flashinfer_cutlass", "b300", "sm103", False),
        ("", "b200", "sm100", False),
        ("", "pro6000", "sm120", False),
    ],
)
def test_shallow_answers_are_of_one_backend_on_one_gpu(
    words: str, gpu: str, arch: str, is_told: bool
) -> None:
    text = f"vllm serve nvidia/GLM-5.1-NVFP4 -tp 8 --host 127.0.0.1 {words}\n"

    assert ("shallow" in said(text, gpu, arch)) is is_told
