"""Profiles: where they come from, what they may say, and that every error of one is told at
once.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.capacity import memory as capacity
from launcher.config import layers
from launcher.config.composed import Composed
from launcher.config.errors import RENAMED
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.engines.engine import counterparts, dialect
from launcher.engines.target import Target
from launcher.errors import Exit, UserError
from launcher.knowledge import models
from launcher.plan.policy import Policy

MODEL = '[flags]\nmodel-path = "m"\n'


class Home:
    """A user's home with profiles in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.profiles = folder / ".config/glm5-serve/profiles"
        self.profiles.mkdir(parents=True)
        self.environ = {"HOME": str(folder)}

    def write(self, name: str, text: str) -> Path:
        path = self.profiles / f"{name}.toml"
        path.write_text(text)
        return path

    def load(self, name: str, *settings: str, key: str | None = None, **environ: str) -> Composed:
        return load(PlanRequest(name, settings, key), self.environ | environ)

    def refusal(self, name: str, *settings: str, **environ: str) -> UserError:
        with pytest.raises(UserError) as refused:
            self.load(name, *settings, **environ)
        return refused.value


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_name_means_the_users_profile_before_the_packaged_one(home: Home) -> None:
    path = home.write("card", MODEL)

    assert home.load("card").path == path
    assert home.load("8xpro6000").path == layers.PACKAGED / "8xpro6000.toml"


def test_a_path_means_that_file(home: Home, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MODEL)

    assert home.load(str(tmp_path / "mine.toml")).name == "mine"


def test_an_unknown_name_gets_the_nearest(home: Home) -> None:
    refusal = home.refusal("8xpro600")

    assert refusal.status == Exit.USAGE
    assert refusal.fix.startswith("did you mean 8xpro6000")
    assert str(home.profiles) in refusal.what


def test_the_nearer_layer_wins(home: Home) -> None:
    home.write("grand", MODEL + "tp-size = 1\npp-size = 1\ndp-size = 1\nport = 1001\nstay = 1")
    home.write("parent", 'extends = "grand"\n[flags]\npp-size = 2\ndp-size = 2\nport = 1002')
    home.write("child", 'extends = "parent"\n[flags]\ndp-size = 3\nport = 1003')
    flags = home.load("child", "flags.port=1005", GLM5_SERVE__FLAGS__PORT="1004").flags

    assert flags == {
        "model-path": "m",
        "tp-size": 1,
        "pp-size": 2,
        "dp-size": 3,
        "port": 1005,
        "stay": 1,
    }
    assert home.load("child", GLM5_SERVE__FLAGS__PORT="1004").flags["port"] == 1004


def test_defaults_lie_below_every_profile(home: Home) -> None:
    home.write("p", MODEL + "[supervision]\nbackoff = 7")
    profile = home.load("p").profile

    assert profile.policy() == Policy(backoff=7)
    assert (profile.flags.host, profile.flags.port) == ("127.0.0.1", None)


def test_an_engine_is_named_in_the_profile_and_in_its_plan(home: Home) -> None:
    home.write("p", MODEL + '[engine]\nkind = "sglang"')
    home.write("other", '[flags]\nmodel = "m"\n[engine]\nkind = "vllm"')
    home.write("odd", MODEL + '[engine]\nkind = "trt"')
    ask = PlanRequest("p")
    plan = resolve(home.load("p"), ask, Path("/s"), {})
    other = resolve(home.load("other"), PlanRequest("other"), Path("/s"), {})

    assert (plan.engine, plan.port) == ("sglang", 30000)
    assert (other.engine, other.port) == ("vllm", 8000)
    assert plan == resolve(home.load("p", "engine.kind=sglang"), ask, Path("/s"), {})
    assert "engine.kind: wanted sglang or vllm, not 'trt'" in home.refusal("odd").what
    assert "--set: engine.kind: wanted sglang" in home.refusal("p", "engine.kind=x").what


@pytest.mark.parametrize(
    ("kind", "flags", "says"),
    [
        (
            "vllm",
            'model = "m"\nmem-fraction-static = 0.9',
            "mem-fraction-static: an option of SGLang",
        ),
        ("vllm", 'model = "m"\ntp-size = 8', "write flags.tensor-parallel-size"),
        ("vllm", 'model-path = "m"', "model-path: an option of SGLang, and engine.kind says vLLM"),
        ("sglang", 'model-path = "m"\nmax-num-seqs = 8', "max-num-seqs: an option of vLLM"),
    ],
)
def test_an_option_of_another_engine_is_told_with_whose_it_is(
    home: Home, kind: str, flags: str, says: str
) -> None:
    home.write("mixed", f'[engine]\nkind = "{kind}"\n[flags]\n{flags}')

    assert says in home.refusal("mixed").what


def test_a_profile_that_extends_one_of_another_engine_is_told_which_options_stay_behind(
    home: Home,
) -> None:
    home.write("child", 'extends = "8xpro6000"\n[engine]\nkind = "vllm"')

    said = home.refusal("child").what
    assert (
        "flags.model-path: an option of SGLang, and engine.kind says vLLM; write flags.model"
        in said
    )
    assert "8xpro6000" in said


def test_what_no_engine_has_may_be_a_coming_releases(home: Home) -> None:
    home.write("p", MODEL + "quite-new = 1")

    assert home.load("p").flags["quite-new"] == 1


def test_a_value_keeps_its_place_in_the_command(home: Home) -> None:
    home.write("p", '[flags]\na = 1\nmodel-path = "m"\nz = 1')

    assert list(home.load("p", "flags.a=2", "flags.new=true").flags) == [
        "a",
        "model-path",
        "z",
        "new",
    ]


def test_variables_keep_their_case_and_their_text(home: Home) -> None:
    home.write("p", MODEL)
    composed = home.load("p", "env.A=0x10", "env.B=1e3", GLM5_SERVE__ENV__Mixed__Case="010")

    assert composed.profile.env == {"Mixed__Case": "010", "A": "0x10", "B": "1e3"}
    assert composed.origin["env.A"].place == "--set"


def test_numbers_and_switches_in_settings_are_typed(home: Home) -> None:
    home.write("p", MODEL)
    words = (
        "flags.a=8",
        "flags.b=0.5",
        "flags.c=true",
        "flags.d=text",
        'flags.e="8"',
        "flags.f=[1, 2]",
        "flags.g=1.2.3",
    )

    flags = home.load("p", *words).flags
    assert [flags[name] for name in "abcdefg"] == [8, 0.5, True, "text", "8", [1, 2], "1.2.3"]


def test_short_paths_are_expanded(home: Home) -> None:
    home.write(
        "p",
        '[engine]\npython = "~/venv/bin/python"\n[flags]\nmodel-path = "{cache}/m"\n[env]\nX ='
        ' "a~/b"',
    )
    composed = home.load("p")

    assert composed.profile.engine.python == f"{home.folder}/venv/bin/python"
    assert composed.flags["model-path"] == f"{home.folder}/.cache/glm5-serve/m"
    assert composed.profile.env["X"] == "a~/b"
    assert home.load("p", XDG_CACHE_HOME="/c").flags["model-path"] == "/c/glm5-serve/m"


def test_the_key_file_of_the_command_line_wins_and_is_absolute(home: Home) -> None:
    home.write("p", '[access]\napi_key_file = "/a"\n' + MODEL)

    assert home.load("p", key="b").profile.access.api_key_file == str(Path("b").absolute())


def test_an_option_that_no_release_has_is_told_beside_other_errors(home: Home) -> None:
    flags = "[flags]\nmodel-path = '/m'\nprt = 1\nno-such-thing = 2\nport = 30000\n"
    path = home.write("bad", f'{flags}[supervision]\nstop_timeout = "ten"\n')
    told = home.refusal("bad").what

    assert told.startswith("profile bad has 3 errors:"), told
    assert f"{path}: flags.prt: no SGLang from 0.5.8 on has it, did you mean port?" in told
    assert f"{path}: flags.no-such-thing: no SGLang from 0.5.8 on has it" in told
    home.write("newer", flags)
    assert "prt" in home.load("newer").flags  # what is installed may have it


def test_all_errors_are_told_at_once_with_file_and_key(home: Home) -> None:
    path = home.write(
        "bad",
        """
descripton = "x"
[engine]
pyton = "a"
[flags]
port = "abc"
api-key = "x"
max_running = 3
foo = { a = 1 }
[env]
NCCL_IB_DISABLE = true
"9X" = "s"
[supervision]
start_timeout = "soon"
backoff = -1
[why]
nothing = "x"
""",
    )
    refusal = home.refusal("bad", "flags.tp-size=inf")

    assert refusal.status == Exit.CONFIG
    head, *errors = refusal.what.splitlines()
    assert head == f"profile bad has {len(errors)} errors:"
    told = "\n".join(errors)
    for part in (
        f"{path}: descripton: unknown key, did you mean description?",
        f"{path}: engine.pyton: unknown key, did you mean python?",
        f"{path}: flags.model-path: is required",
        f"{path}: flags.port: wanted a whole number",
        f"{path}: flags.api-key: would show a secret in `ps`",
        f"{path}: flags.max_running: not an option name, did you mean max-running?",
        f"{path}: flags.foo",
        f'{path}: env.NCCL_IB_DISABLE: write "1" or "0"',
        f"{path}: env.9X",
        f"{path}: supervision.start_timeout: wanted a number",
        f"{path}: supervision.backoff: wanted 0 or more",
        f"{path}: why.nothing: explains a flag or variable that is not set there",
    ):
        assert part in told, part


def test_an_error_names_the_layer_that_made_it(home: Home) -> None:
    home.write("p", MODEL)

    assert "--set: flags.port:" in home.refusal("p", "flags.port=x").what
    assert (
        "GLM5_SERVE__FLGS__X: flgs: unknown key, did you mean flags?"
        in home.refusal("p", GLM5_SERVE__FLGS__X="1").what
    )


def test_one_config_file_is_all_that_sglang_takes(home: Home) -> None:
    home.write("p", MODEL + 'config = "x.yaml"\n[access]\napi_key_file = "/k"')

    assert "SGLang takes one --config" in home.refusal("p").what


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"[flags", "not valid TOML"),
        (b"a = 1\na = 2", "not valid TOML"),
        (b"\xff\xfe", "not text in UTF-8"),
        (b"", "flags: is required"),
        (b"flags = 3", "flags: "),
        (b"extends = 3\n[flags]\nmodel-path = 'm'", "extends: "),
        (b"extends = 'nobody'", "extends: no profile 'nobody'"),
        (b"extends = 'p'", "extends: no profile 'p'"),
    ],
)
def test_a_file_that_is_no_profile_is_refused(home: Home, raw: bytes, says: str) -> None:
    path = home.profiles / "p.toml"
    path.write_bytes(raw)
    refusal = home.refusal("p")

    assert refusal.status == Exit.CONFIG
    assert says in refusal.what
    assert str(path) in refusal.what


def test_a_folder_in_place_of_a_profile_is_refused(home: Home) -> None:
    (home.profiles / "p.toml").mkdir()

    assert "is a folder" in home.refusal("p").what


def test_a_link_to_itself_in_place_of_a_profile_is_refused(home: Home) -> None:
    (home.profiles / "p.toml").symlink_to("p.toml")

    assert "Too many levels of symbolic links" in home.refusal("p").what


@pytest.mark.parametrize("word", ["x", "=1", ".=1", "a..b=1", "a.b=1"])
def test_a_setting_that_is_none_is_refused(home: Home, word: str) -> None:
    home.write("p", MODEL)

    assert home.refusal("p", word).status in (Exit.USAGE, Exit.CONFIG)


VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.lists(st.integers() | st.text(), max_size=3),
    lambda inner: st.dictionaries(
        st.sampled_from(["flags", "env", "port", "model", "x", ""]) | st.text(), inner
    ),
    max_leaves=12,
)
TABLES = st.dictionaries(
    st.sampled_from(
        ["flags", "env", "engine", "access", "supervision", "why", "extends", "description"]
    )
    | st.text(),
    VALUES,
)


@settings(max_examples=75, deadline=None)
@given(TABLES)
def test_no_table_is_a_traceback(tables: dict[str, Any]) -> None:
    """What TOML could say and more, straight into the overlay."""
    layer = layers.Layer("here", tables)
    values, origin = layers.overlay([layer, layers.Layer("there", {"flags": {"model-path": "m"}})])

    assert set(origin) or not tables
    layers.expand(values, {"HOME": "/h"})


@settings(max_examples=100, deadline=None)
@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_no_text_is_a_traceback(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    home = Home(tmp_path_factory.mktemp("home"))
    (home.profiles / "p.toml").write_text(MODEL + text, encoding="utf-8", errors="replace")
    with contextlib.suppress(UserError):
        assert home.load("p").name == "p"


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["flags.", "env.", "engine.", "supervision.backoff", ""]), st.text()
        )
    ),
    st.dictionaries(
        st.sampled_from(["FLAGS__", "ENV__", "FLAGS", ""]).map("GLM5_SERVE__".__add__), st.text()
    ),
)
def test_no_setting_is_a_traceback(words: list[tuple[str, str]], environ: dict[str, str]) -> None:
    ask = PlanRequest("cpu-demo", tuple(table + rest for table, rest in words))
    with contextlib.suppress(UserError):
        assert load(ask, environ | {"HOME": "/h"}).name == "cpu-demo"


@pytest.mark.parametrize("name", sorted(path.stem for path in layers.PACKAGED.glob("*.toml")))
def test_a_packaged_profile_gives_a_reason_for_every_value(home: Home, name: str) -> None:
    layer = layers.read(layers.find(name, home.environ))

    said = {*layer.values.get("flags", ()), *layer.values.get("env", ())}
    ruled = layer.values.get("rules", {}).get("enabled", True)
    assert not ruled or set(layer.values.get("why", ())) == said
    assert layer.values["description"]


NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+|\d{4,}")


def context(model: str) -> int:
    """The most tokens of a model by its name; 0: nobody knows."""
    return int((capacity.named(model) or {}).get("max_position_embeddings", 0))


@pytest.mark.parametrize("name", sorted(path.stem for path in layers.PACKAGED.glob("*.toml")))
def test_no_reason_tells_the_context_of_another_model(home: Home, name: str) -> None:
    """Reasons are inherited by profiles of other models."""
    ask = PlanRequest(name)
    plan = resolve(load(ask, home.environ), ask, Path("/state"), {}, Target(None))
    checkpoints = (id for one in models.families() for id in one.checkpoints)
    others = {*map(context, checkpoints)} - {context(plan.model)}
    assert 202752 in others | {context(plan.model)}

    for setting in plan.settings:
        said = {int(one.replace(",", "")) for one in NUMBER.findall(setting.why)}
        assert not said & others, f"{setting.option}: {setting.why}"


WORDS = st.sampled_from(
    ["flags", "env", "engine", "access", "supervision", "why", "extends", "model-path", "port"]
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = (
    st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.lists(st.integers() | TEXTS, max_size=3)
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.dictionaries(WORDS | TEXTS, inner, max_size=4), max_leaves=10
).map(lambda tree: tree if isinstance(tree, dict) else {"x": tree})


def toml(value: Any) -> str:
    """A value as TOML writes it; a table inline."""
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{toml(str(key))} = {toml(inner)}" for key, inner in value.items())
            + "}"
        )
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else str(value)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(parent=DOCUMENTS, child=DOCUMENTS)
def test_no_document_is_a_traceback(
    home: Home, parent: dict[str, Any], child: dict[str, Any]
) -> None:
    """Valid TOML of any shape, composed and extended, gives a profile or a refusal."""
    for name, tree in {
        "parent": parent | {"extends": ""},
        "child": child | {"extends": "parent"},
    }.items():
        tree = (
            tree
            if name == "child"
            else {key: value for key, value in tree.items() if key != "extends"}
        )
        home.write(name, "".join(f"{toml(key)} = {toml(value)}\n" for key, value in tree.items()))
        with contextlib.suppress(UserError):
            assert home.load(name, "flags.model-path=m").name == name


def test_false_leaves_an_inherited_option_out(home: Home) -> None:
    home.write("parent", MODEL + "quiet = true\ntp-size = 8\ndtype = 'auto'")
    home.write("child", 'extends = "parent"\n[flags]\nquiet = false\ndtype = false')
    ask = PlanRequest("child")
    plan = resolve(load(ask, home.environ), ask, home.folder, {})

    assert plan.arguments == ("--model-path", "m", "--tp-size", "8")


def test_the_host_has_a_say_by_its_environment_alone(home: Home) -> None:
    composed = home.load(
        "8xpro6000", GLM5_SERVE__FLAGS__TP_SIZE="4", GLM5_SERVE__ENV__NCCL_DEBUG="INFO"
    )

    assert (composed.flags["tp-size"], composed.profile.env["NCCL_DEBUG"]) == (4, "INFO")
    assert composed.origin["flags.tp-size"].place == "GLM5_SERVE__FLAGS__TP_SIZE"


@pytest.mark.parametrize(
    "text",
    [
        f"x = {'9' * 5000}",
        f"x = {'[' * 5000}",
        f"{'a.' * 3000}b = 1",
        f'extends = "{"a" * 5000}"',
        'extends = "../profiles/p.toml"',
    ],
    ids=[
        "long number",
        "deep array",
        "deep key",
        "long parent",
        "itself by way of the folder above",
    ],
)
def test_a_file_that_breaks_a_reader_is_refused(home: Home, text: str) -> None:
    home.write("p", f"{text}\n{MODEL}")

    assert home.refusal("p").status == Exit.CONFIG


@pytest.mark.parametrize(
    "word", [f"flags.x={'9' * 5000}", f"flags.x={'[' * 5000}{']' * 5000}"], ids=["long", "deep"]
)
def test_a_setting_that_breaks_a_reader_is_refused_or_is_text(home: Home, word: str) -> None:
    home.write("p", MODEL)
    with contextlib.suppress(UserError):
        assert home.load("p", word).name == "p"


def test_a_name_too_long_for_a_file_is_an_unknown_one(home: Home) -> None:
    assert home.refusal("a" * 300).status == Exit.USAGE


def test_a_key_file_of_nobodys_home_is_refused(home: Home) -> None:
    home.write("p", MODEL)
    with contextlib.suppress(UserError):
        assert home.load("p", key="~nobody-of-that-name/key").name == "p"


def test_the_home_of_a_key_file_is_the_environments(home: Home) -> None:
    home.write("p", MODEL)

    assert home.load("p", key="~/key").profile.access.api_key_file == f"{home.folder}/key"


def test_false_leaves_an_inherited_name_out(home: Home) -> None:
    home.write("p", MODEL + 'served-model-name = "x"')

    assert home.load("p", "flags.served-model-name=false").profile.flags.served_model_name is None


def test_the_other_name_of_the_model_means_the_same(home: Home) -> None:
    home.write("p", MODEL)
    ask = PlanRequest("p", ("flags.model=/mine",))

    assert resolve(load(ask, home.environ), ask, home.folder, {}).model == "/mine"


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a\\u0000b", "\u00fc"])
def test_what_is_no_option_name_is_refused(home: Home, name: str) -> None:
    home.write("p", f'{MODEL}"{name}" = 1')

    assert home.refusal("p").status == Exit.CONFIG


def test_a_why_that_is_no_table_is_told_even_where_a_child_mends_it(home: Home) -> None:
    home.write("parent", f'why = "because"\n{MODEL}')
    home.write("p", 'extends = "parent"\n[flags]\nport = 1\n[why]\nport = "x"')
    ask = PlanRequest("p")
    with contextlib.suppress(UserError):
        assert resolve(load(ask, home.environ), ask, home.folder, {}).port == 1


@pytest.mark.parametrize("value", ["inf", "1e300"])
def test_patience_without_end_is_refused(home: Home, value: str) -> None:
    """The selector that waits takes no such time: OverflowError ends the launcher."""
    home.write("p", f"{MODEL}[supervision]\nstart_timeout = {value}")

    assert home.refusal("p").status == Exit.CONFIG


@pytest.mark.parametrize("revision", ["0e123456", "64e5"])
def test_a_revision_that_looks_like_a_number_stays_as_it_was_said(
    home: Home, revision: str
) -> None:
    home.write("p", MODEL)

    assert str(home.load("p", f"flags.revision={revision}").flags["revision"]) == revision


@pytest.mark.parametrize(
    "setting", ["engine.python=A=b/python", 'flags.x=["-a"]', "env.HF_TOKEN=x", "flags.api-ke=x"]
)
def test_what_could_not_be_pasted_or_should_not_be_printed_is_refused(
    home: Home, setting: str
) -> None:
    home.write("p", MODEL)

    assert home.refusal("p", setting).status == Exit.CONFIG


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_key_is_refused_and_the_new_one_named(home: Home, old: str, new: str) -> None:
    home.write("old", MODEL + f"[supervision]\n{old.removeprefix('supervision.')} = 7")

    assert f"{old}: renamed to {new}" in home.refusal("old").what


@pytest.mark.parametrize("why", ["tp", "tp-size", "tensor-parallel-size"])
@pytest.mark.parametrize("flag", ["tp", "tp-size", "tensor-parallel-size"])
def test_a_reason_may_use_another_name_of_its_option(home: Home, flag: str, why: str) -> None:
    home.write("p", f'{MODEL}{flag} = 4\n[why]\n{why} = "four are enough"')
    ask = PlanRequest("p")
    made = resolve(load(ask, home.environ), ask, home.folder, {})

    assert {s.option: s.why for s in made.settings}["tp-size"] == "four are enough"


@pytest.mark.parametrize("name", ["nonsense-opt", "--dsa-decode-backend", "dsa_decode_backend"])
def test_a_rule_that_is_none_cannot_be_skipped(home: Home, name: str) -> None:
    home.write("p", f'{MODEL}[rules]\nskip = ["{name}"]')

    assert f"rules.skip: no rule sets {name!r}" in home.refusal("p").what


def test_a_stall_timeout_may_be_set_from_outside(home: Home) -> None:
    home.write("p", MODEL)
    outside = {"GLM5_SERVE__SUPERVISION__STALL_TIMEOUTS__KV": "6"}
    made = home.load("p", "supervision.stall_timeouts.weights=5", **outside).profile.policy()

    assert (made.stall_timeouts.weights, made.stall_timeouts.kv) == (5, 6)
    assert home.refusal("p", "flags.a.b=1").status == Exit.USAGE


@pytest.mark.parametrize(
    ("short", "option", "value"),
    [
        ("mem-fraction", "mem-fraction-static", "0.7"),
        ("kv-cache", "kv-cache-dtype", "bfloat16"),
        ("moe-runner", "moe-runner-backend", "triton"),
        ("chunked-prefill", "chunked-prefill-size", "2048"),
    ],
)
def test_what_a_profile_says_in_short_stands_against_the_rules(
    short: str, option: str, value: str
) -> None:
    """argparse takes it for the option; a rule that came after it would win unseen."""
    ask = PlanRequest("8xpro6000", (f"flags.{short}={value}",))
    made = resolve(load(ask, {}), ask, Path("/s"), {}, Target("0.5.23", "sm120"))

    assert [(s.name, s.value) for s in made.settings if s.option == option] == [
        (f"--{option}", value)
    ]


def test_an_abbreviation_beside_its_option_is_refused() -> None:
    ask = PlanRequest("8xpro6000", ("flags.served-model-nam=x",))
    with pytest.raises(UserError, match="takes it for served-model-name, which is set, too"):
        resolve(load(ask, {}), ask, Path("/s"), {}, Target("0.5.23", "sm120"))
    as_written = resolve(load(ask, {}), ask, Path("/s"), {}, Target("0.5.99", "sm120"))
    assert "--served-model-nam" in as_written.argv, "a coming release may have it"


def test_gpus_are_counted_by_what_an_abbreviation_means(home: Home) -> None:
    home.write("p", MODEL + "tensor-parallel = 4")
    ask = PlanRequest("p")
    made = resolve(load(ask, home.environ), ask, home.folder, {}, Target("0.5.23", "sm120"))

    assert (made.gpus, made.flag("tp-size")) == (4, "4")
    home.write("q", MODEL + "tensor-parallel = 'many'")
    ask = PlanRequest("q")
    with pytest.raises(UserError, match="tp-size"):
        resolve(load(ask, home.environ), ask, home.folder, {}, Target("0.5.23", "sm120"))


@pytest.mark.parametrize("of", ["sglang", "vllm"])
def test_each_option_that_the_other_engine_calls_otherwise_is_told_by_its_name(
    home: Home, of: str
) -> None:
    to = "vllm" if of == "sglang" else "sglang"
    between, known = counterparts(of, to), dialect(to).options
    newest = known.release(known.newest)
    pairs = [
        pair
        for pair in between.pairs
        if not known.accepted_by(f"--{pair.source}") and not newest.candidates(f"--{pair.source}")
        if pair.source not in dialect(to).secrets
    ]
    model = dialect(to).option_of("model_path")
    for pair in pairs:
        flags = f'{model} = "m"\n{pair.source} = "1"'
        home.write("mixed", f'[engine]\nkind = "{to}"\n[flags]\n{flags}')

        assert f"write flags.{pair.to}" in home.refusal("mixed").what
    assert len(pairs) > 5


def test_options_that_are_others_together_are_told_which(home: Home) -> None:
    home.write("p", '[engine]\nkind = "vllm"\n[flags]\nmodel = "m"\nspeculative-num-steps = 3')
    home.write("q", '[flags]\nmodel-path = "m"\nheadless = true')

    assert "write flags.speculative-config" in home.refusal("p").what
    assert "leave it out: --node-rank tells" in home.refusal("q").what


@pytest.mark.parametrize(
    "said",
    [
        '"speculative-config.method" = "mtp"',
        'speculative-config.method = "mtp"',
        'speculative-config = {method = "mtp"}',
    ],
)
def test_a_part_of_json_is_told_as_the_json_to_write(home: Home, said: str) -> None:
    home.write("p", f'[engine]\nkind = "vllm"\n[flags]\nmodel = "m"\n{said}')

    [_, line] = home.refusal("p").what.splitlines()
    assert line.endswith("""as JSON: flags.speculative-config = '{"method": "mtp"}'""")
    assert """flags.speculative-config='{"method": ...}'""" in (
        home.refusal("8xb200-vllm", "flags.speculative-config.method=mtp").fix or ""
    )


def test_a_table_is_no_json_where_an_option_takes_none(home: Home) -> None:
    home.write("p", '[flags]\nmodel-path = "m"\nkv-cache-dtype = {a = 1}')

    assert "kv-cache-dtype: a table, wanted a value of --kv-cache-dtype" in home.refusal("p").what
