"""`lint --fix`: the author's own text with the least change that helps, in his form."""

from __future__ import annotations

import itertools
import json
import re
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from conftest import World
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.config import layers
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.engines.engine import NAMES, dialect
from launcher.engines.target import ARCHS, Target
from launcher.engines.translation import NUMBERS
from launcher.errors import UserError
from launcher.formats import shell
from launcher.formats.edits import Edit
from launcher.formats.launches import Launch
from launcher.formats.reading import read
from launcher.lint.by_option import canonical_name
from launcher.lint.fix import Fixed, fixed, patched
from launcher.lint.migrate import _typed
from launcher.lint.run import judge

CATALOGUE = dialect("sglang").options
TARGET = Target("0.5.23", "sm120")
CASES = sorted(Path(__file__).with_name("cases").glob("*[!e]"))  # but *.source
READ = [case for case in CASES if read(case.read_text()).launches]
OURS = [
    case for case in READ if all(one.engine == "sglang" for one in read(case.read_text()).launches)
]


# -- the law: never harm ---------------------------------------------------------------------------


def his(launch: Launch, target: Target) -> dict[str, str]:
    """What nobody but the author decides."""
    given = target.known.given(launch.words)
    said = {canonical_name(one, target.known): " ".join(one.values) for one in given if one.option}
    his = re.compile(dialect(launch.engine).his)
    return {name: value for name, value in said.items() if his.fullmatch(name)}


def require_unharmed(text: str, target: Target) -> Fixed:
    made = fixed(text, target)
    if made.obstacles:
        assert made.text == text
        return made
    before, after = judge(text, target).launches, judge(made.text, target).launches
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert new.is_sound, made.text
        assert his(old.launch, target).items() <= his(new.launch, target).items()
        assert {*old.launch.references} <= {*new.launch.references}
        assert old.launch.name == new.launch.name
        names = [one.name for one in target.known.given(new.launch.words)]
        twice = {name for name in names if names.count(name) > 1}
        assert twice <= {name for name in old.launch.words if old.launch.words.count(name) > 1}
    assert all(change.why for change in made.changes)
    assert (made.text == text) == (not made.changes)
    return made


@pytest.mark.parametrize("case", OURS, ids=lambda case: case.stem)
def test_no_text_of_others_is_harmed(case: Path) -> None:
    """The newest release and every fourth one, each with one of the architectures in turn; the next
    texts have those between.
    """
    first, newest = OURS.index(case) % 4, CATALOGUE.releases[-1]
    for number, release in enumerate((*CATALOGUE.releases[first:-1:4], newest)):
        arch = ARCHS[(number + OURS.index(case)) % len(ARCHS)]
        require_unharmed(case.read_text(), Target(release, arch))


@pytest.mark.parametrize("arch", ARCHS)
def test_nothing_is_to_change_in_what_the_profiles_become(arch: str) -> None:
    """But in the published card, which is kept as it was published. Each for the newest release, and
    for one of the seven before it in turn.
    """
    *older, newest = CATALOGUE.releases[-8:]
    for number, path in enumerate(sorted(layers.PACKAGED.glob("*.toml"))):
        if path.stem == "card":
            continue
        ask = PlanRequest(str(path))
        profile = load(ask, {"HOME": "/home/op"})
        if profile.profile.needs.arch == arch:
            for release in (newest, older[number % len(older)]):
                plan = resolve(profile, ask, Path("/state"), {}, Target(release, arch))
                text = shell.write(plan)
                assert require_unharmed(text, Target(release, arch)).text == text


def test_it_is_known_of_most_texts_what_to_change() -> None:
    """The law alone would hold of a command that never wrote anything."""
    made = [fixed(case.read_text(), TARGET) for case in OURS]
    assert sum(bool(one.changes) for one in made) >= 14
    assert sum(bool(one.obstacles) for one in made) <= 6


# -- any edit, anywhere ----------------------------------------------------------------------------


@cache
def places() -> list[tuple[Path, int]]:
    """Every launch of every text, by its number in it."""
    return [(case, n) for case in READ for n in range(len(read(case.read_text()).launches))]


def edits(launch: Launch) -> Iterator[Edit]:
    """What could be changed of it."""
    words = launch.words
    for at in (at for at, word in enumerate(words) if word.startswith("--")):
        end = at + 2 if words[at + 1 : at + 2] and words[at + 1][:1] != "-" else at + 1
        yield Edit("", at, end - at)
        yield Edit("", end, 0, ("--new-flag", "8"))
        if end == at + 2:
            yield Edit("", at, 2, (words[at], "true"))
    for name in launch.variables:
        yield Edit("", variable=name)
        yield Edit("", variable=name, value="7")
    yield Edit("", variable="NEW_VARIABLE", value="x y")


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_an_edit_is_what_the_text_says_after_it_and_all_that_it_says(data: st.DataObject) -> None:
    case, number = data.draw(st.sampled_from(places()))
    text = case.read_text()
    before = read(text)
    edit = data.draw(st.sampled_from([*edits(before.launches[number])]))
    made = patched(text, before, number, edit)

    if made is not None:
        (_, after), wanted = made, edit.applied(before.launches[number])
        assert after.launches[number].words == wanted.words
        assert after.launches[number].env == wanted.env
        assert after.unread == before.unread
        assert len(after.launches) == len(before.launches)


def test_nearly_every_edit_has_a_place_in_the_text() -> None:
    """Of each fourth one that there is."""
    count = itertools.count()
    done = [
        patched(text, reading, number, edit) is not None
        for case in READ
        for text in [case.read_text()]
        for reading in [read(text)]
        for number, launch in enumerate(reading.launches)
        for edit in edits(launch)
        if next(count) % 4 == 0
    ]
    assert sum(done) / len(done) > 0.95


# -- form by form ----------------------------------------------------------------------------------

FUSION = "--enable-flashinfer-allreduce-fusion"
FORMS = {
    "script": (
        f"""#!/bin/bash
# our server
sglang serve --model-path nvidia/GLM-5.2-NVFP4 \\
  --tp-size 8 \\
  {FUSION} \\
  --port 8000   # the last
""",
        """#!/bin/bash
# our server
sglang serve --model-path nvidia/GLM-5.2-NVFP4 \\
  --tp-size 8 \\
  --port 8000   # the last
""",
    ),
    "the last of a script": (
        f"sglang serve --model-path nvidia/GLM-5.2-NVFP4 --tp 8 \\\n    {FUSION}\necho done\n",
        "sglang serve --model-path nvidia/GLM-5.2-NVFP4 --tp 8\necho done\n",
    ),
    "array": (
        f"""A=(
  --tp-size 8   # all of them
  {FUSION}      # fast
)
sglang serve --model-path nvidia/GLM-5.2-NVFP4 "${{A[@]}}"
""",
        """A=(
  --tp-size 8   # all of them
  # fast
)
sglang serve --model-path nvidia/GLM-5.2-NVFP4 "${A[@]}"
""",
    ),
    "compose": (
        f"""services:
  glm:
    image: lmsysorg/sglang:v0.5.23
    # the command
    command:
      - python3
      - -m
      - sglang.launch_server
      - --model-path=nvidia/GLM-5.2-NVFP4
      - --tp-size
      - "8"
      - {FUSION}
    ports: ["8000:8000"]
""",
        """services:
  glm:
    image: lmsysorg/sglang:v0.5.23
    # the command
    command:
      - python3
      - -m
      - sglang.launch_server
      - --model-path=nvidia/GLM-5.2-NVFP4
      - --tp-size
      - "8"
    ports: ["8000:8000"]
""",
    ),
    "pod": (
        f"""apiVersion: v1
kind: Pod
spec:
  containers:
  - name: glm
    image: lmsysorg/sglang:v0.5.23
    command: [python3, -m, sglang.launch_server]
    args: ["--model-path", "nvidia/GLM-5.2-NVFP4", "--tp-size", "8", "{FUSION}"] # eight
    env: [{{name: HF_TOKEN, valueFrom: {{secretKeyRef: {{name: hf, key: token}}}}}}]
""",
        """apiVersion: v1
kind: Pod
spec:
  containers:
  - name: glm
    image: lmsysorg/sglang:v0.5.23
    command: [python3, -m, sglang.launch_server]
    args: ["--model-path", "nvidia/GLM-5.2-NVFP4", "--tp-size", "8"] # eight
    env: [{name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hf, key: token}}}]
""",
    ),
    "block": (
        f"""containers:
- name: glm
  command:
  - bash
  - -c
  - |
    # wait for the disk
    exec python3 -m sglang.launch_server \\
      --model-path nvidia/GLM-5.2-NVFP4 --tp-size 8 {FUSION} \\
      --node-rank $(LWS_WORKER_INDEX) --nnodes 2 --dist-init-addr $(LWS_LEADER_ADDRESS):5000
""",
        """containers:
- name: glm
  command:
  - bash
  - -c
  - |
    # wait for the disk
    exec python3 -m sglang.launch_server \\
      --model-path nvidia/GLM-5.2-NVFP4 --tp-size 8 \\
      --node-rank $(LWS_WORKER_INDEX) --nnodes 2 --dist-init-addr $(LWS_LEADER_ADDRESS):5000
""",
    ),
    "dockerfile": (
        f"""FROM lmsysorg/sglang:v0.5.23
ENTRYPOINT ["python3", "-m", "sglang.launch_server"]
# eight GPUs
CMD ["--model-path", "nvidia/GLM-5.2-NVFP4", "{FUSION}", "--tp-size", "8"]
""",
        """FROM lmsysorg/sglang:v0.5.23
ENTRYPOINT ["python3", "-m", "sglang.launch_server"]
# eight GPUs
CMD ["--model-path", "nvidia/GLM-5.2-NVFP4", "--tp-size", "8"]
""",
    ),
    "unit": (
        f"""[Service]
Environment=NCCL_DEBUG=WARN
ExecStart=/usr/bin/python3 -m sglang.launch_server \\
  --model-path nvidia/GLM-5.2-NVFP4 \\
  {FUSION} \\
  --tp-size 8
""",
        """[Service]
Environment=NCCL_DEBUG=WARN
ExecStart=/usr/bin/python3 -m sglang.launch_server \\
  --model-path nvidia/GLM-5.2-NVFP4 \\
  --tp-size 8
""",
    ),
    "table": (
        """# our server
model-path: nvidia/GLM-5.2-NVFP4
tp-size: 8 # all
enable-flashinfer-allreduce-fusion: true
port: 8000
""",
        """# our server
model-path: nvidia/GLM-5.2-NVFP4
tp-size: 8 # all
port: 8000
""",
    ),
    "quadlet": (
        f"""[Container]
Image=docker.io/lmsysorg/sglang:v0.5.23
Exec=python3 -m sglang.launch_server --model-path nvidia/GLM-5.2-NVFP4 {FUSION} --tp-size 8
""",
        """[Container]
Image=docker.io/lmsysorg/sglang:v0.5.23
Exec=python3 -m sglang.launch_server --model-path nvidia/GLM-5.2-NVFP4 --tp-size 8
""",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_it_is_changed_in_its_form_and_the_rest_is_byte_for_byte_the_same(form: str) -> None:
    text, wanted = FORMS[form]
    assert require_unharmed(text, TARGET).text == wanted
    crlf = text.replace("\n", "\r\n")
    if form in ("script", "compose", "pod", "unit"):
        assert require_unharmed(crlf, TARGET).text == wanted.replace("\n", "\r\n")


def test_what_is_added_stands_on_a_line_of_its_own_behind_what_it_belongs_to() -> None:
    text = "sglang serve \\\n  --model-path nvidia/GLM-5.2-NVFP4 \\\n  --tp-size 8\n"
    made = require_unharmed(text, Target("0.5.12", "sm120"))

    assert made.text == (
        "sglang serve \\\n  --model-path nvidia/GLM-5.2-NVFP4 \\\n  --kv-cache-dtype bfloat16 \\\n"
        "  --attention-backend flashinfer \\\n  --tp-size 8\n"
    )
    assert {(change.old, change.new) for change in made.changes} == {
        ("", "--attention-backend flashinfer"),
        ("", "--kv-cache-dtype bfloat16"),
    }


def test_what_two_launches_share_is_changed_once() -> None:
    text = f"""COMMON="--model-path Qwen/Qwen3-32B --tp-size 4 {FUSION}"
CUDA_VISIBLE_DEVICES=0,1,2,3 sglang serve $COMMON --port 30000 --disaggregation-mode prefill &
CUDA_VISIBLE_DEVICES=4,5,6,7 sglang serve $COMMON --port 30001 --disaggregation-mode decode
"""
    made = fixed(text, Target("0.5.23", "sm120"))
    assert made.text == text.replace(f" {FUSION}", "")
    assert len(made.changes) == 1


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--mem-fraction-statc 0.9", "--mem-fraction-static 0.9"),
        ("--mem-fraction-statc=0.9", "--mem-fraction-static=0.9"),
        ("--kv-cache-dtype fp8_em43", "--kv-cache-dtype fp8_e4m3"),
        ("--trust-remote-code true", "--trust-remote-code"),
        ("--mem-fraction-static 0.8 --mem-fraction-static 0.9", "--mem-fraction-static 0.9"),
        ("--cuda-graph-max-bs $BS", "--cuda-graph-max-bs-decode $BS"),
        ('--cuda-graph-max-bs 8 --json-model-override-args=\'{"a b": 1}\'', '--cuda-graph-max-bs-decode 8 --json-model-override-args=\'{"a b": 1}\''),
    ],
)  # fmt: skip
def test_what_is_meant_is_corrected_and_never_dropped(words: str, wanted: str) -> None:
    command = "sglang serve --model-path nvidia/GLM-5.2-NVFP4 --tp-size 8 "
    assert require_unharmed(command + words, TARGET).text == command + wanted


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--bogus 1", "no release from"),
        ("--tp-size 6", "do not divide"),
        ("--moe-runner-backend b12x", "no choice b12x"),
        ("--port http", "whole number"),
        ("stray", "stands where an option was expected"),
        ("--torchao-config int4wo-128", "removed after"),
    ],
)
def test_what_nobody_but_the_author_can_decide_is_not_rewritten(words: str, why: str) -> None:
    text = f"sglang serve --model-path nvidia/GLM-5.2-NVFP4 {words}"
    made = require_unharmed(text, TARGET)
    assert not made.has_no_place
    assert why in " ".join(made.obstacles)


HOSTILE = [
    # Docker takes a list with a comma too many for a shell's words.
    f"""FROM lmsysorg/sglang:v0.5.23
CMD ["python3", "-m", "sglang.launch_server", "--model-path", "nvidia/GLM-5.2-NVFP4", "--tp-size", "8", \\
  "{FUSION}"
]
""",
    # Another program has them, too.
    f'O="{FUSION}"\nsglang serve --model-path nvidia/GLM-5.2-NVFP4 --tp 8 $O\npython3 bench.py $O\n',
    # What breaks the one is right for the other.
    """C="--model-path nvidia/GLM-5.2-NVFP4 --tp 8 --attention-backend flashinfer"
sglang serve $C --port 1 --kv-cache-dtype fp8_e4m3 &
sglang serve $C --port 2 --kv-cache-dtype bfloat16
""",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nobody_else_loses_a_word(text: str) -> None:
    made = require_unharmed(text, TARGET)
    assert made.text == text or "]" in text
    if "CMD" in text:
        assert '"8"\n]' in made.text or '"8" \\\n]' in made.text


def test_a_default_goes_with_the_variable_that_it_is_of() -> None:
    """Without its flag the word would be another's."""
    text = (
        "sglang serve --model-path nvidia/GLM-5.2-NVFP4 --tp 8 --attention-backend ${B:-flashinfer}"
    )
    made = require_unharmed(text, TARGET)
    assert made.text == text.replace(" --attention-backend ${B:-flashinfer}", "")


def test_a_parser_that_is_advised_against_is_not_what_was_meant() -> None:
    text = "sglang serve --model-path nvidia/GLM-5.2-NVFP4 --tp 8 --tool-call-parser glm5"
    assert "glm45" not in require_unharmed(text, TARGET).text


def test_changes_that_follow_each_other_are_told_as_one() -> None:
    text = "sglang serve --model-path nvidia/GLM-5.2-NVFP4 --tp 8 --nsa-prefill-backend trtllm"
    [change] = require_unharmed(text, TARGET).changes
    assert (change.old, change.new) == ("--nsa-prefill-backend trtllm", "")


# -- the command -----------------------------------------------------------------------------------

SCRIPT = f"""#!/bin/bash
sglang serve --model-path nvidia/GLM-5.2-NVFP4 --tp-size 8 --api-key s3cr3t-of-mine {FUSION}
"""
SM120 = ("--release", "0.5.23", "--arch", "sm120")


def test_fix_prints_the_text_its_keys_masked(world: World) -> None:
    (world.folder / "run.sh").write_text(SCRIPT)
    said = world.run("lint", "run.sh", "--fix", *SM120)

    assert said.returncode == 0
    assert said.stdout == SCRIPT.replace(f" {FUSION}", "").replace("s3cr3t-of-mine", "[redacted]")
    assert f"leave out {FUSION}" in said.stderr
    assert "--write keeps them" in said.stderr
    assert (world.folder / "run.sh").read_text() == SCRIPT


def test_write_replaces_the_file_and_keeps_its_mode_and_its_keys(world: World) -> None:
    file, link = world.folder / "run.sh", world.folder / "link.sh"
    file.write_text(SCRIPT)
    file.chmod(0o750)
    link.symlink_to("run.sh")
    said = world.run("lint", "link.sh", "--write", *SM120)

    assert said.returncode == 0, said.stderr
    assert "s3cr3t-of-mine" not in said.stdout + said.stderr
    assert file.read_text() == SCRIPT.replace(f" {FUSION}", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o750
    assert link.is_symlink()
    assert not [*world.folder.glob(".run.sh*")]
    again = world.run("lint", "run.sh", "--write", *SM120).stderr
    assert "--fix changes nothing: what is risky starts" in again


def test_what_cannot_be_rewritten_is_said_and_left_alone(world: World) -> None:
    file = world.folder / "run.sh"
    file.write_text(SCRIPT.replace("--tp-size 8", "--tp-size 8 --bogus 1"))
    for how in ("--fix", "--write"):
        said = world.run("lint", "run.sh", how, *SM120)
        assert said.returncode == 1
        assert said.stderr.startswith("no rewrite: line 2: --bogus 1: no release")
        assert said.stdout == ""
    assert "--bogus 1" in file.read_text()


def test_a_text_without_a_place_for_the_change_exits_78(world: World) -> None:
    """The flag is put together of two variables: no line of the text holds it."""
    (world.folder / "run.sh").write_text(
        "A=--enable-flashinfer\nB=allreduce-fusion\nsglang serve --model-path nvidia/GLM-5.2-NVFP4 --tp-size 8 $A-$B\n"
    )
    said = world.run("lint", "run.sh", "--fix", *SM120)
    assert said.returncode == 78
    assert "the text has no place for it" in said.stderr


@pytest.mark.parametrize(
    ("data", "words", "status", "says"),
    [
        (SCRIPT.encode(), ("-", "--write"), 2, "--write wants a file"),
        (SCRIPT.encode() + b"# caf\xe9\n", ("run.sh", "--write"), 78, "UTF-8"),
    ],
)
def test_what_cannot_be_written_back_is_refused(
    world: World, data: bytes, words: tuple[str, ...], status: int, says: str
) -> None:
    (world.folder / "run.sh").write_bytes(data)
    said = world.run("lint", *words, *SM120)
    assert said.returncode == status
    assert says in said.stderr
    assert (world.folder / "run.sh").read_bytes() == data


@pytest.mark.parametrize("key", ["${KEY}", "$KEY", "$(cat key)", '"$KEY"', "{{ key }}", "<key>"])
def test_what_stands_for_a_key_is_no_key(world: World, key: str) -> None:
    text = SCRIPT.replace("s3cr3t-of-mine", key)
    (world.folder / "run.sh").write_text(text)
    said = world.run("lint", "run.sh", "--fix", *SM120)
    assert said.stdout == text.replace(f" {FUSION}", "")
    assert "masked" not in said.stderr


def test_keys_beside_a_launch_are_not_shown(world: World) -> None:
    text = f"""KEY = "s3cr3t-of-mine"
run(["python3", "-m", "sglang.launch_server", "--model-path", "nvidia/GLM-5.2-NVFP4", "--tp-size", "8",
     "{FUSION}", "--api-key", KEY])
# curl -H "Authorization: Bearer s3cr3t-of-mine"
"""
    (world.folder / "run.py").write_text(text)
    for how in ([], ["--fix"], ["--json"]):
        said = world.run("lint", "run.py", *how, *SM120)
        assert "s3cr3t" not in said.stdout + said.stderr


@pytest.mark.parametrize(("mode", "names"), [(0o444, 1), (0o644, 2)])
def test_what_is_read_only_or_has_two_names_is_not_replaced(
    world: World, mode: int, names: int
) -> None:
    file = world.folder / "run.sh"
    file.write_text(SCRIPT)
    file.chmod(mode)
    if names == 2:
        (world.folder / "other.sh").hardlink_to(file)
    said = world.run("lint", "run.sh", "--write", *SM120)
    assert said.returncode == 78
    assert "not replaced" in said.stderr
    assert file.read_text() == SCRIPT


def test_without_a_gpu_what_depends_on_it_is_not_changed(world: World) -> None:
    (world.folder / "run.sh").write_text(SCRIPT)
    said = world.run("lint", "run.sh", "--fix")
    assert said.returncode == 1
    assert "depends on the GPU" in said.stderr


def test_a_change_says_what_it_rests_on(world: World) -> None:
    """The release is assumed, and a file with options was not read."""
    (world.folder / "run.sh").write_text(f"source more.sh\n{SCRIPT}")
    for how in ("--fix", "--write", "--profile"):
        (world.folder / "run.sh").write_text(f"source more.sh\n{SCRIPT}")
        said = world.run("lint", "run.sh", how, "--arch", "sm120").stderr
        assert f"assumed: SGLang {CATALOGUE.newest}, the newest known" in said
        assert "more.sh is sourced, and not read" in said
    data = json.loads(world.run("lint", "run.sh", "--fix", "--json", "--arch", "sm120").stdout)
    assert any("newest known" in note for note in data["notes"])


@pytest.mark.parametrize("how", ["--fix", "--profile"])
def test_a_launch_that_a_shell_cuts_off_is_not_called_changed(world: World, how: str) -> None:
    (world.folder / "run.sh").write_text(
        "sglang serve --model-path nvidia/GLM-5.2-NVFP4 \\   # all\n  --tp-size 8\n"
    )
    said = world.run("lint", "run.sh", how, *SM120)
    assert said.returncode == 1
    assert "a shell ends the command there" in said.stderr
    assert said.stdout == ""


def test_no_profile_rests_on_an_assumed_gpu(world: World) -> None:
    (world.folder / "run.sh").write_text(SCRIPT)
    said = world.run("lint", "run.sh", "--profile", "--release", "0.5.23")
    assert said.returncode == 1
    assert "depends on the GPU" in said.stderr


def test_what_was_assumed_is_said_to_people_and_programs(world: World) -> None:
    (world.folder / "run.sh").write_text(SCRIPT)
    plain = world.run("lint", "run.sh")
    data = json.loads(world.run("lint", "run.sh", "--json").stdout)

    assert f"assumed: SGLang {CATALOGUE.newest}, the newest known" in plain.stdout
    assert "on sm100 and sm103 the answer is another" in plain.stdout
    assert len(data["launches"][0]["assumed"]) == 2
    asked = json.loads(world.run("lint", "run.sh", "--json", *SM120).stdout)
    assert asked["launches"][0]["assumed"] == []


# -- as a profile ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "wanted"),
    [("glm", 0), ("glm other", 78)],
)
def test_an_option_of_many_values_becomes_a_profiles_one(
    world: World, names: str, wanted: int
) -> None:
    """vLLM takes several names for a model, a profile one."""
    (world.folder / "run.sh").write_text(
        f"vllm serve nvidia/GLM-5.2-NVFP4 --served-model-name {names} --tensor-parallel-size 8\n"
    )
    made = world.run("lint", "run.sh", "--profile", "--release", "0.32.0", "--arch", "sm120")

    assert made.returncode == wanted, made.stderr
    if wanted:
        assert "served-model-name has 2 values, and a profile one" in made.stderr
    else:
        assert 'served-model-name = "glm"' in made.stdout


def test_a_launch_becomes_a_profile_that_renders_to_it(world: World) -> None:
    (world.folder / "run.sh").write_text("export NCCL_P2P_LEVEL=SYS\n" + SCRIPT)
    made = world.run("lint", "run.sh", "--profile", *SM120)
    (world.folder / "mine.toml").write_text(made.stdout)
    said = world.run("render", "-p", "./mine.toml", "--release", "0.5.23", "--arch", "sm120")

    assert made.returncode == 0, made.stderr
    assert "s3cr3t" not in made.stdout
    assert "--api-key-file FILE" in made.stdout
    assert said.returncode == 0, said.stderr
    launched = judge(said.stdout, TARGET)
    assert launched.is_sound
    assert {"--model-path", "nvidia/GLM-5.2-NVFP4", "--tp-size", "8"} <= {
        *launched.launches[0].launch.words
    }
    assert launched.launches[0].launch.env["NCCL_P2P_LEVEL"] == "SYS"


def test_a_launch_of_vllm_becomes_a_profile_of_vllm(world: World) -> None:
    (world.folder / "v.sh").write_text("vllm serve zai-org/GLM-5 -tp 8 --max-model-len 8k\n")
    made = world.run("lint", "v.sh", "--profile", "--arch", "sm100").stdout
    (world.folder / "v.toml").write_text(made)
    shown = world.run("render", "./v.toml", "--release", "0.33.0").stdout

    assert '[engine]\nkind = "vllm"\n' in made
    assert "-m vllm.entrypoints.cli.main serve" in shown
    assert "--max-model-len 8k" in shown


def test_what_has_no_place_in_a_profile_is_named(world: World) -> None:
    """Nothing else is: not the options that stay, nor one that nobody gave."""
    gone = "--swap-space 16 --disable-log-requests"
    numbers = "--max-model-len 131072 --max-num-batched-tokens 8192 --max-num-seqs 16"
    (world.folder / "v.sh").write_text(f"vllm serve zai-org/GLM-5 -tp 8 {numbers} {gone}\n")
    made = world.run("lint", "v.sh", "--profile", "--arch", "sm100", "--release", "0.32.0")

    said = [line for line in made.stderr.splitlines() if line.startswith("--")]
    assert [line.partition(": left out: ")[0] for line in said] == [
        "--swap-space 16",
        "--disable-log-requests",
    ]
    assert "max-model-len = 131072\n" in made.stdout
    assert "max-num-batched-tokens = 8192\n" in made.stdout


@pytest.mark.parametrize("engine", NAMES)
def test_a_number_is_bare_in_a_profile_whatever_its_option_reads(engine: str) -> None:
    known = dialect(engine).options
    options = known.release(known.newest).options.values()
    numbers = [one for one in options if one.type in ("float", *NUMBERS)]

    assert {one.type for one in numbers} > {"int", "float"} or engine == "sglang"
    for option in numbers:
        assert (_typed(option, "131072"), _typed(option, "-1")) == (131072, -1), option.name
    scaled = (one for one in numbers if one.type != "float")
    assert {_typed(option, "8k") for option in scaled} == {"8k"}


@pytest.mark.parametrize(
    ("text", "status", "says"),
    [
        ("sglang serve --model-path $MODEL", 78, "values come from outside: $MODEL"),
        ("sglang serve --tp-size 8", 78, "--model-path is missing"),
        ("sglang serve --model-path m --bogus 1", 1, "--bogus 1: no release"),
        ("sglang serve --model-path a &\nsglang serve --model-path b", 78, "has 2 launches"),
    ],
)
def test_what_is_no_profile_is_said(world: World, text: str, status: int, says: str) -> None:
    (world.folder / "run.sh").write_text(text)
    said = world.run("lint", "run.sh", "--profile", *SM120)
    assert (said.returncode, said.stdout) == (status, "")
    assert says in said.stderr


@pytest.mark.parametrize("given", ["-e MY_FOLDER", '-e MY_FOLDER="$MY_FOLDER"', "--env MY_FOLDER"])
def test_a_variable_that_is_handed_on_is_left_out_of_a_profile(world: World, given: str) -> None:
    text = f"docker run {given} -e B=1 vllm/vllm-openai:v0.33.0 a/m --host 127.0.0.1\n"
    (world.folder / "run.sh").write_text(text)

    said = world.run("lint", "run.sh", "--profile", *SM120)

    assert said.returncode == 0
    assert "# MY_FOLDER is left out: export it where `up` is started\n" in said.stdout
    assert 'B = "1"' in said.stdout


def test_another_variable_is_not_what_is_handed_on(world: World) -> None:
    text = "docker run -e A=$B vllm/vllm-openai:v0.33.0 a/m --host 127.0.0.1\n"
    (world.folder / "run.sh").write_text(text)

    said = world.run("lint", "run.sh", "--profile", *SM120)

    assert (said.returncode, said.stdout) == (78, "")
    assert "values come from outside: $B" in said.stderr


def test_of_too_many_launches_none_is_changed() -> None:
    text = f"sglang serve --model-path nvidia/GLM-5.2-NVFP4 {FUSION} &\n"
    made = fixed("".join(f"A={n} {text}" for n in range(40)), TARGET)
    assert made.obstacles == ("more than 20 launches: give it fewer at a time",)


def test_a_text_without_a_launch_has_nothing_to_fix() -> None:
    with pytest.raises(UserError):
        judge("echo hello", TARGET)
    assert fixed("echo hello", TARGET) == Fixed("echo hello")
