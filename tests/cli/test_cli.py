"""The command line itself: help, statuses, completion, and what a wrong word gets."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from conftest import FULL, GLM5_SERVE, ROOT, World, needs_full_disk
from hypothesis import given
from hypothesis import strategies as st

from launcher.cli import cli, every_command, refusals
from launcher.cli.groups import GROUPS, MODULES
from launcher.cli.refusals import KNOWN_AS
from launcher.errors import Exit, UserError

README = ROOT / "README.md"
HEAVY = {"pydantic", "rich", "requests", "psutil", "pynvml", "asyncio", "http.client", "subprocess"}


@pytest.mark.parametrize("words", ["--help", "--version", "up --help"])
def test_asking_for_help_imports_nothing_heavy(words: str) -> None:
    code = (
        "import sys\nfrom launcher.cli import cli\n"
        f"try: cli.main({words.split()!r}, standalone_mode=False)\nexcept SystemExit: pass\n"
        "print('LOADED', *sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout

    assert HEAVY & set(said.rpartition("LOADED")[2].split()) == set()


@pytest.mark.parametrize(
    "words",
    ["status", "status cpu", "down cpu", "logs cpu", "events cpu", "smoke cpu", "top --once"],
)
def test_what_looks_at_a_server_reads_neither_profiles_nor_checks(words: str, world: World) -> None:
    """Scripts and people ask again and again: it takes a fifth of what a plan takes."""
    heavy = ("pydantic", "launcher.config.profile", "launcher.doctor", "launcher.formats.writers")
    code = (
        "import sys\nfrom launcher.cli import cli\n"
        f"try: cli.main({words.split()!r}, standalone_mode=False)\n"
        "except (SystemExit, Exception): pass\nprint('LOADED', *sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=world.environ,
    ).stdout

    loaded = said.rpartition("LOADED")[2].split()
    assert "launcher.operate.control" in loaded
    assert [name for name in loaded if name.startswith(heavy)] == []


def test_the_supervisor_stays_small() -> None:
    code = "import sys, launcher.supervise\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout

    assert {"pydantic", "rich", "requests", "psutil", "click", "asyncio", "tomllib", "_ssl"} & set(
        loaded.split()
    ) == set()


def test_each_module_has_the_commands_that_it_is_imported_for() -> None:
    for module, names in MODULES.items():
        commands = importlib.import_module(f"launcher.cli.{module}").COMMANDS
        assert {command.name for command in commands} == set(names), module


@pytest.mark.parametrize("words", ["--help", "--version", "no-such-word"])
def test_what_is_about_no_command_imports_none(words: str) -> None:
    code = (
        "import sys\nfrom launcher.cli import cli\n"
        f"try: cli.main([{words!r}], standalone_mode=False)\nexcept (SystemExit, Exception): pass\n"
        "print('LOADED', *sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout

    loaded = set(said.rpartition("LOADED")[2].split())
    assert "launcher.cli.groups" in loaded
    assert not {f"launcher.cli.{module}" for module in MODULES} & loaded


def test_a_start_imports_nothing_that_it_does_not_need() -> None:
    """Neither what reads other people's files nor what draws; each is a tenth of a start."""
    code = "import sys, launcher.operate.replicas, launcher.operate.up\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()

    assert "launcher.doctor.run" in loaded
    assert not {"yaml", "rich", "requests", "launcher.formats.around"} & set(loaded)


def test_exit_statuses_stand_in_the_help_and_in_the_readme(world: World) -> None:
    said = world.run("--help").stdout

    for status in Exit:
        assert re.search(rf"^ +{status.value}  ", said, re.MULTILINE), status
        assert re.search(rf"^\| {status.value} \|", README.read_text(), re.MULTILINE), status


def test_every_command_stands_in_the_readme() -> None:
    for name in every_command():
        assert f"glm5-serve {name}" in README.read_text(), name


FORMATS_OF_THEIR_OWN = ("completion", "systemd", "metrics", "schema")


def test_every_command_that_prints_data_takes_json(world: World) -> None:
    # Scripts, units and Prometheus figures have formats of their own.
    commands = [(n, c) for n, c in every_command().items() if n not in FORMATS_OF_THEIR_OWN]
    for name, command in commands:
        for each in command.commands.values() if isinstance(command, click.Group) else [command]:
            if each.name in FORMATS_OF_THEIR_OWN:
                continue
            assert "--json" in {o for p in each.params for o in p.opts}, (name, each.name)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("up", 2, "which profile?"),
        ("frobnicate", 2, "no command 'frobnicate'"),
        ("up --bogus", 2, "no such option '--bogus'"),
        ("up stub other", 2, "got unexpected extra argument (other)"),
        ("gateway nope", 2, "`glm5-serve gateway --help` lists the commands"),
        ("up -p sub", 2, "did you mean stub?"),
        ("up -p stub --set nonsense", 2, "--set nonsense: wanted key=value"),
        (
            "up -p stub --set flags.port=http",
            78,
            "--set: flags.port: wanted a whole number, not 'http'",
        ),
        (
            "up -p stub --set engine.python=/no/python",
            78,
            "/no/python is missing or cannot be executed",
        ),
        ("up -p stub --set engine.python=/bin/true", 78, "/bin/true is not a working python"),
        ("up -p stub --set engine.python=/bin/false", 78, "/bin/false is not a working python"),
        ("up -p stub --set env.PYTHONPATH=", 78, "has no sglang"),
        (
            "up -p stub --set flags.model-path=/no/model",
            78,
            "the model folder /no/model is not there",
        ),
        ("up -p stub --set flags.model-path=/etc", 78, "/etc has no config.json"),
        ("up -p stub --set flags.model-path=/etc/passwd", 78, "/etc/passwd is a file"),
        ("up -p stub --set flags.host=0.0.0.0", 78, "binds 0.0.0.0 without an API key"),
        (
            "up -p stub --set flags.host=0.0.0.0 --allow access-guarded",
            78,
            "no --allow lets access-guarded fail",
        ),
        ("up -p stub --set flags.host=192.0.2.1 --api-key-file key", 78, "an address of this host"),
        ("up -p stub --api-key-file nothing", 78, "cannot read the API key file"),
        ("up -p stub --api-key-file open", 78, "is open to others (-rw-r--r--)"),
        ("up -p card", 78, "binds 0.0.0.0 without an API key"),
        ("status -p stub", 1, ""),
        ("status", 1, "no server has been started yet"),
        ("logs -p stub", 1, "nothing of stub at"),
        ("status -p ../x", 2, "cannot name a folder"),
    ],
)
def test_a_wrong_word_gets_one_clear_message(
    world: World, words: str, status: int, says: str
) -> None:
    for name, mode in (("key", 0o600), ("open", 0o644)):
        (world.folder / name).write_text("sekret")
        (world.folder / name).chmod(mode)
    ran = world.run(*words.split())

    assert ran.returncode == status
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr
    if status in (2, 78):
        assert re.search(r"^error  .*^fix    .", ran.stderr, re.MULTILINE | re.DOTALL)
    if status == 78:
        assert not (world.instance / "plan.json").exists()
    assert not world.processes()


@pytest.mark.parametrize("word", KNOWN_AS)
def test_a_word_of_another_tool_gets_ours(world: World, word: str) -> None:
    ran = world.run(word)

    assert ran.returncode == 2
    assert f"no command '{word}'" in ran.stderr
    assert word not in every_command()
    ours = KNOWN_AS[word].split()[0]
    assert ours in every_command() or world.run(ours).returncode == 0
    assert f"`glm5-serve {KNOWN_AS[word]}`" in ran.stderr


@needs_full_disk
@pytest.mark.parametrize("words", ["--help", "render 8xpro6000"])
def test_a_full_disk_is_no_bug_of_ours_where_nobody_can_be_told(world: World, words: str) -> None:
    """What is told of it where somebody can: test_output.py."""
    with FULL.open("w") as full:
        both = subprocess.run([GLM5_SERVE, *words.split()], stdout=full, stderr=full, timeout=60)

    assert both.returncode == 78


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=300), st.integers(20, 160))
def test_a_wrapped_refusal_loses_no_word_and_keeps_to_its_columns(text: str, width: int) -> None:
    shown = refusals.wrapped(text, width)

    assert "".join(shown.split()) == "".join(text.split())
    fits = all(len(word) <= max(width, 27) - refusals.HANGING for word in text.split())
    assert shown.split() == text.split() or not fits
    for line in shown.splitlines()[1:]:
        assert line.startswith(" " * refusals.HANGING)
        assert len(line) <= max(width, 27)


def test_ctrl_c_while_it_imports_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    path = f"{tmp_path}:{ROOT}"
    ran = subprocess.run(
        [sys.executable, "-m", "launcher", "--help"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_without_a_name_it_is_the_profile_that_fits(world: World) -> None:
    for product, fits in (("b200", "8xb200"), ("rtx-pro-6000", "8xpro6000")):
        ran = world.run("render", "--gpu", product, "--json")

        assert json.loads(ran.stdout)["name"] == fits
        assert f"no profile was named: {fits}" in ran.stderr


def test_a_state_folder_that_cannot_be_made_is_named(world: World) -> None:
    (world.folder / "file").write_text("")
    ran = world.run("up", "-p", "stub", GLM5_SERVE_STATE_DIR=str(world.folder / "file"))

    assert ran.returncode == 78
    assert "no instance can be kept where GLM5_SERVE_STATE_DIR says" in ran.stderr


def test_a_place_whose_name_nobody_can_read_is_refused_in_any_encoding(world: World) -> None:
    ran = world.run("profiles", XDG_CONFIG_HOME="\udcff/x", PYTHONIOENCODING="ascii")

    assert ran.returncode == 78
    assert "XDG_CONFIG_HOME" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_profiles_are_listed_with_where_they_come_from(world: World) -> None:
    (world.profile.parent / "card.toml").write_text("[flags")
    rows = json.loads(world.run("profiles", "--json").stdout)["profiles"]

    told = [(r["name"], r["place"], r["shadowed"]) for r in rows]
    assert told[:2] == [("card", "user", False), ("stub", "user", False)]
    assert {("8xpro6000", "packaged", False), ("card", "packaged", True)} <= set(told)
    assert [r["fits"] for r in rows if r["name"] in ("8xpro6000", "cpu-demo")] == [False, True]
    assert rows[0]["description"].startswith("broken: ")


def test_render_prints_json_with_a_reason_for_each_value(world: World) -> None:
    plan = json.loads(
        world.run("render", "-p", "8xpro6000", "--gpu", "rtx-pro-6000", "--format", "json").stdout
    )

    assert plan["schema"] == 1
    assert plan["program"][1:] == ["-m", "sglang.launch_server"]
    assert plan["env"]["NCCL_P2P_LEVEL"] == "SYS"
    assert {s["name"] for s in plan["settings"]} >= {
        "--tp-size",
        "--kv-cache-dtype",
        "NCCL_P2P_LEVEL",
    }
    assert all(s["why"] and s["layer"] for s in plan["settings"])
    assert (
        world.run("render", "-p", "8xpro6000", "--json").stdout == json.dumps(plan, indent=1) + "\n"
    )


def test_explain_says_who_set_what(world: World) -> None:
    said = world.run("render", "-p", "stub", "--explain", "--set", "flags.tp-size=4").stdout

    assert re.search(r"--tp-size +4 +--set +asked for by --set", said)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_profiles(world: World, shell: str) -> None:
    script = world.run("completion", shell).stdout
    asked = {
        "_GLM5_SERVE_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "glm5-serve up -p st",
        "COMP_CWORD": "st" if shell == "fish" else "3",
    }

    assert "_GLM5_SERVE_COMPLETE" in script
    assert "stub" in world.run(**asked).stdout


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("render --arch sm1", "sm120"),
        ("render --release 0.5.2", "0.5.23"),
        ("render --release 0.3", "0.32.0"),
        ("diff --to-release 0.5.8", "0.5.8"),
        ("doctor --only gpu-arch", "gpu-architecture"),
        ("up --set fla", "flags."),
        ("up --set flags.max-runn", "flags.max-running-requests="),
        ("up --set flags.max-num-s", "flags.max-num-seqs="),
        ("up --set env.NCCL_P2P_L", "env.NCCL_P2P_LEVEL="),
        ("up --set supervision.stall_timeouts.w", "supervision.stall_timeouts.weights="),
    ],
)
def test_completion_knows_what_options_take(world: World, words: str, completed: str) -> None:
    asked = {
        "_GLM5_SERVE_COMPLETE": "bash_complete",
        "COMP_WORDS": f"glm5-serve {words}",
        "COMP_CWORD": str(len(words.split())),
    }
    assert f"plain,{completed}" in world.run(**asked).stdout.split()


def test_a_closed_pipe_is_no_error(world: World) -> None:
    ran = subprocess.run(
        ["sh", "-c", f"{GLM5_SERVE} render -p 8xpro6000 | head -1"],
        env=world.environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert ran.stdout.startswith("# glm5-serve")
    assert ran.stderr == ""


@pytest.mark.parametrize("release", ["0.5.20", "v0.5.20", "sglang==0.5.20", "V0.5.20"])
@pytest.mark.parametrize("gpu", [("--gpu", "b300"), ("--arch", "sm103"), ("--gpu", "B300")])
def test_a_release_and_a_gpu_are_said_in_the_words_of_their_makers(
    world: World, release: str, gpu: tuple[str, str]
) -> None:
    said = world.run("render", "8xb200", "--release", release, *gpu)

    assert said.stdout.startswith("# glm5-serve: profile 8xb200, sm103, SGLang 0.5.20\n"), (
        said.stderr
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("render card --sglang 0.5.20", "--sglang was renamed to --release 0.5.20"),
        ("diff card card --to-sglang 0.5.20", "--to-sglang was renamed to --to-release 0.5.20"),
        ("render card --release trtllm==1.2.0", "trtllm is not an engine that is started here"),
        ("render card --release vllm==0.32.0", "the profile is of SGLang"),
        ("render 8xb200-vllm --release sglang==0.5.23", "the profile is of vLLM"),
        ("render card --release newest", "'newest' is not a release"),
        ("render card --release 0.5.-23", "'0.5.-23' is not a release"),
        ("render card --release 0.5.1e3", "'0.5.1e3' is not a release"),
        ("render card --release \u0660.5.23", "is not a release"),
        ("status nosuch", "no profile 'nosuch'"),
        ("down nosuch", "no profile 'nosuch'"),
        ("render card --gpu rtx-9090", "--gpu rtx-9090: not a GPU that is known here"),
        ("render card --gpu h100", "--gpu h100: H100 is sm90, which is not Blackwell"),
        ("render card --gpu sm120 --arch sm100", "--gpu sm120, --arch says sm100"),
        ("render card --gpu b200 --arch sm120", "--gpu b200 is sm100, --arch says sm120"),
        ("render card -p 8xb200", "two profiles: card and --profile 8xb200"),
        ("render", "which profile?"),
    ],
)
def test_what_is_no_target_or_profile_is_refused(world: World, words: str, says: str) -> None:
    said = world.run(*words.split())

    assert (said.returncode, says in said.stderr) == (2, True), said.stderr


def test_a_profile_is_an_argument_or_an_option(world: World) -> None:
    one, other, both = (
        world.run("render", *words)
        for words in (("card",), ("--profile", "card"), ("card", "-p", "card"))
    )

    assert one.returncode == 0
    assert one.stdout == other.stdout == both.stdout


def test_the_memory_of_a_named_gpu_counts(world: World) -> None:
    told = [
        json.loads(world.run("fit", "8xb200", "--release", "0.5.23", "--json", *words).stdout)
        for words in (("--gpu", "b200"), ("--gpu", "b300"))
    ]

    assert [one["memory"] >> 20 for one in told] == [183359, 275040]
    assert not any(one["assumed"] for one in told)


def test_help_lists_every_command_once(world: World) -> None:
    named = [name for commands in GROUPS.values() for name in commands]

    assert sorted(named) == sorted(every_command())
    assert all(len(text) < 45 for commands in GROUPS.values() for text in commands.values())
    shown = world.run("--help").stdout
    assert all(f"  {name} " in shown for name in named)


def test_the_checkpoints_own_words_count_for_another_release_and_gpu_too(world: World) -> None:
    """Else a plan for the release that is installed would not be the plan for what is installed."""
    config = '{"architectures": ["GlmMoeDsaForCausalLM"], "model_type": "glm_moe_dsa"}'
    (world.folder / "model/config.json").write_text(config)
    model = f"flags.model-path={world.folder}/model"
    said = [
        world.run("render", "8xpro6000", "--set", model, *words).stdout
        for words in ((), ("--release", "0.5.23"), ("--gpu", "rtx-pro-6000"))
    ]

    assert all("--dsa-decode-backend" in text for text in said)
    assert not [text for text in said if "model unknown" in text]


@pytest.mark.parametrize("observed", ["5", "null", "[]", "{}"])
def test_facts_that_are_none_are_refused(world: World, observed: str) -> None:
    (world.folder / "facts").write_text(f'{{"schema": 1, "observed": {observed}}}')
    said = world.run("render", "card", "--facts", "facts")

    assert (said.returncode, "`glm5-serve facts`" in said.stderr) == (78, True), said.stderr


def test_what_was_not_pasted_is_unknown_and_no_profile_is_said_to_fit(world: World) -> None:
    (world.folder / "pasted").mkdir()
    xid = "[ 12.3] NVRM: Xid (PCI:0000:61:00): 79, GPU has fallen off the bus.\n"
    (world.folder / "pasted/dmesg.txt").write_text(xid)
    said = world.run("doctor", "--from", "pasted", "--json")
    found = {one["id"]: one["severity"] for one in json.loads(said.stdout)["findings"]}

    assert (found["driver-answers"], found["kernel-xid"]) == ("unknown", "fail")
    head = world.run("doctor", "--from", "pasted").stdout
    assert "none is the default for a host with no GPU seen; choose with -p" in head
    assert "no GPU provided" in head


def test_another_gpu_is_another_host_whose_disks_are_not_these(world: World) -> None:
    told = json.loads(world.run("fit", "8xb200", "--gpu", "b200", "--json").stdout)

    assert (told["host_memory"], told["disk_free"], told["fits"]) == (None, None, True)


def test_one_profile_is_compared_with_itself_for_another_release(world: World) -> None:
    words = ("--release", "0.5.16", "--to-release", "0.5.23", "--json")
    alone, twice = world.run("diff", "card", *words), world.run("diff", "card", "card", *words)

    assert (alone.returncode, alone.stdout) == (twice.returncode, twice.stdout)


LONG = [
    (name, one)
    for name, command in sorted(every_command().items())
    for option in command.params
    for one in option.opts
    if one.startswith("--")
]


@pytest.mark.parametrize(("command", "option"), LONG)
def test_a_long_option_with_one_dash_is_told(command: str, option: str) -> None:
    for words in ([option[1:], "abc"], [f"{option[1:]}=abc"]):
        told = CliRunner().invoke(cli, [command, *words]).exception

        assert isinstance(told, UserError)
        assert (told.what, told.status) == (f"no such option {option[1:]}", Exit.USAGE)
        assert told.fix == f"did you mean {option}?"
