"""What a script sets where a test decides is what bash sets, where the script itself says whether
the test holds; elsewhere it is known only where the test changes nothing.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest

from launcher.formats.reading import read


@pytest.mark.parametrize(
    ("script", "value"),
    [
        ('B=$((2 * Q))\n[ "$B" -gt 64 ] && B=64', "$B"),
        ('B=$((2 * 16))\n[ "$B" -gt 64 ] && B=64', "32"),
        ("B=6\n[[ $Q ]] || B=64", "$B"),
        ("B=32\nif [ $Q = 1 ]; then B=64; fi", "$B"),
        ("export B=32\nif foo; then export B=64; fi", "$B"),
        ("B=32\nif [ $Q = 1 ]; then B=32; fi", "32"),
        ('if [ -z "$B" ]; then B=8; fi', "8"),
        ("B=--y\nif foo; then B+=' --z'; fi", "--y --z"),
        ("B=32\n[ -d x ] && A=1", "32"),
        ("B=32\ncd x && B=64", "64"),
        ("B=32\nif foo; then B=64; fi\nB=16", "16"),
    ],
)
def test_a_value_that_a_test_decides_is_unknown(script: str, value: str) -> None:
    [launch] = read(f"{script}\nsglang serve --x $B\n").launches

    assert " ".join(launch.words[1:]) == value
    assert bool(launch.outside) is (value == "$B")


def test_a_launch_that_a_test_decides_has_the_values_of_its_branch() -> None:
    [launch] = read("B=1\nif foo; then B=2; sglang serve --x $B; fi\n").launches

    assert launch.words == ("--x", "2")


SET = """E= N=4 T=true F=false W='a b' D="${D_HERE:-false}" P=${P_HERE:-0} I=vllm/car:1\n"""
TOLD = [  # what the script alone tells
    '[ "$D" = true ]',
    '[ "$D" = "false" ]',
    "[ $N = 4 ]",
    '[ "$N" == 4 ]',
    '[ "$P" != 0 ]',
    "[[ $N == 4 && $P != 0 ]]",
    "[[ $N == 5 || ( $P = 0 && -z $E ) ]]",
    '[ "$N" = 4 -a -n "$E" ]',
    '[ "$N" = 5 -o -z "$E" ]',
    '[ ! -z "$N" ]',
    '! [ "$N" -gt 3 ]',
    '[ "$N" -ge 4 ] && [ "$N" -le 4 ] && [ "$N" -ne 5 ]',
    '[ "$N" -lt 4 ] || [ "$N" -eq 4 ]',
    'test -n "${X_HERE:-}"',
    'test "$N" -gt 08',
    "test $N == 4",
    '! test "$N" == 5 -o "$P" == 0',
    '[ -n "${X_HERE-x}" ]',
    '[ "$E" ]',
    "[ x ]",
    "[[ $W == 'a b' ]]",
    "[[ $I == *car* ]]",
    '[[ $I == *"car:"* ]]',
    '[[ $I == "*car*" ]]',
    "[[ $I != vllm/* ]]",
    '[ "$I" = "*car*" ]',
    "(( N > 3 ))",
    "(( N - 4 ))",
    "((P))",
    "$T",
    "$F",
    "true && ! false",
    "{ false || true; }",
    '[ "$#" -gt 0 ]',
    '[ -n "$1" ]',
    '[ "${1:-x}" = x ]',
    "X=2",
    '[ "$N" = 4 ] 2>/dev/null',
]
OPEN = [  # what hangs on files, programs and the environment
    "[ -d /nowhere ]",
    "[[ -f x && $N == 4 ]]",
    "[ -z $E ]",
    '[ "$HOME" = / ]',
    "[[ $I =~ car ]]",
    "[[ $I == @(a|b) ]]",
    "[ $W = a ]",
    '[ "$(uname)" = x ]',
    "grep -q x y",
    "cd /nowhere",
    '[ "$N" -gt x ]',
]


def chosen(script: str) -> str:
    """What `$B` is for a launch behind a script."""
    [launch] = read(f"{script}\nsglang serve --x $B\n").launches
    return launch.words[1]


@pytest.mark.parametrize("test", [*TOLD, *OPEN])
def test_a_branch_is_taken_where_bash_takes_it(test: str) -> None:
    bash = shutil.which("bash")
    if not bash:
        pytest.skip("there is no bash here")
    ran = []
    for form in (f"if {test}; then B=1; else B=2; fi", f"B=2\n{test} && B=1"):
        done = subprocess.run(
            [bash, "-c", f"{SET}{form}\necho $B"], capture_output=True, timeout=60, check=True
        )
        ran.append(done.stdout.decode().strip())

    whole = read(f"{SET}if {test}; then B=1; else B=2; fi\nsglang serve --x $B\n").launches[0]
    behind = read(f"{SET}B=2\n{test} && B=1\nsglang serve --x $B\n").launches[0]

    if test in TOLD:
        assert [whole.words[1], behind.words[1]] == ran
        assert not any("assumed" in note for note in (*whole.notes, *behind.notes))
    else:
        assert whole.words[1] == "1"  # the first, as long as nobody knows
        assert any(note.startswith("assumed: ") for note in whole.notes)


@pytest.mark.parametrize(
    ("script", "value"),
    [
        ("N=b; case $N in a) B=1;; b|c) B=2;; *) B=3;; esac", "2"),
        ("N=d; case $N in a) B=1;; b|c) B=2;; *) B=3;; esac", "3"),
        ('N=d; B=0; case "$N" in a) B=1;; esac', "0"),
        ('N=car; B=0; case "$N" in *ca*) B=1;; esac', "1"),
        ("if false; then B=1; elif [ x = y ]; then B=2; elif true; then B=3; else B=4; fi", "3"),
        ("B=0; if [ a = b ]; then B=1; fi", "0"),
        ("B=0; if [ a = b ]; then B=1; elif foo; then B=2; fi", "$B"),
        ("for N in 1 2; do if [ $N = 2 ]; then B=x$N; fi; done", "x2"),
        ('f() { if [ -n "$2" ]; then B=two; else B=one; fi; }; f a', "one"),
        ('f() { if [ -n "$2" ]; then B=two; else B=one; fi; }; f a b', "two"),
        ("B=8; while [ $# -gt 0 ]; do case $1 in --b) B=$2; shift 2;; esac; done", "8"),
        ("C=1; C=2; [ $C = 1 ] && B=x || B=y", "y"),
        ("B=1; (false && B=2)", "1"),
    ],
)
def test_what_follows_from_the_script_is_followed(script: str, value: str) -> None:
    assert chosen(script) == value


def test_a_list_of_a_branch_that_is_not_taken_is_not_used() -> None:
    script = 'A=()\n[ "${P:-0}" = 1 ] && A=(--p 8)\nsglang serve --x 1 "${A[@]}"\n'

    [launch] = read(script).launches

    assert launch.words == ("--x", "1")
    assert not launch.notes


def test_what_a_branch_assumes_is_said_of_what_hangs_on_it_alone() -> None:
    script = (
        'A=()\n[ "$P" = 1 ] && A=(--p 8)\nB=("${A[@]}" --b)\n[ -d /x ] && UNUSED=1\n'
        'sglang serve "${B[@]}"\nsglang serve --x 1\n'
    )

    first, second = read(script).launches

    assert first.words == ("--p", "8", "--b")
    assert first.notes == ('assumed: `[ "$P" = 1 ]` holds: nothing here tells it',)
    assert second.notes == ()


def test_a_value_that_a_loop_changes_decides_nothing() -> None:
    script = 'I=0\nwhile foo; do I=$((I+1)); if [ "$I" = 1 ]; then sglang serve --x 1; fi; done\n'

    [launch] = read(script).launches

    assert launch.notes == ('assumed: `[ "$I" = 1 ]` holds: nothing here tells it',)


def test_a_launch_that_is_not_run_is_judged_and_that_is_said() -> None:
    script = "E=vllm\nif [ $E = sglang ]; then sglang serve --x 1; else vllm serve m; fi\n"

    first, second = read(script).launches

    assert [first.engine, second.engine] == ["sglang", "vllm"]
    assert first.notes == ("behind `[ $E = sglang ]`: as this script stands, it does not run this",)
    assert second.notes == ()


def test_a_function_that_is_only_defined_where_nothing_goes_is_not_the_one_that_runs() -> None:
    script = (
        "if [ a = a ]; then run() { sglang serve --x 1; }; else run() { sglang serve --x 2; }; fi\n"
        "run\n"
    )

    [launch] = read(script).launches

    assert launch.words == ("--x", "1")


def test_one_branch_that_is_open_leaves_those_behind_it_open() -> None:
    script = "if false; then B=1; elif foo; then B=2; else B=3; fi\nsglang serve --x $B\n"

    [launch] = read(script).launches

    assert launch.words == ("--x", "2")
    assert launch.notes == ("assumed: `foo` holds: nothing here tells it",)


@pytest.mark.parametrize(
    ("grows", "value"),
    [
        ('X+=",2"', "$X"),
        ('X="$X,2"', "$X"),
        ("X=${X}2", "$X"),
        ("X=$((X+1))", "$X"),
        ("X=$(( 2 * X ))", "$X"),
        ("((X++))", "$X"),
        ("X=3", "3"),
        ("Y=$((Y+1))", "1"),
        ('Y+="$X"', "1"),
    ],
)
@pytest.mark.parametrize("loop", ["while foo", "until foo", "for ((I=0; I<N; I++))"])
def test_what_grows_from_pass_to_pass_of_a_loop_is_unknown_behind_it(
    loop: str, grows: str, value: str
) -> None:
    script = f"X=1\nsglang serve --x $X\n{loop}; do {grows}; done\nsglang serve --y $X\n"

    before, behind = read(script).launches

    assert before.words == ("--x", "1")
    assert behind.words == ("--y", value)
    assert (value in behind.outside) is value.startswith("$")


def test_what_grows_in_a_loop_over_words_is_known() -> None:
    script = "X=1\nfor i in 2 3; do X+=,$i; done\nsglang serve --x $X\n"

    [launch] = read(script).launches

    assert launch.words == ("--x", "1,2,3")


UNSET = [
    ('sglang serve --x "${X:-}" --y 1', ("--x", "${X:-}", "--y", "1")),
    ("sglang serve --x ${X:-} --y 1", ("--x", "${X:-}", "--y", "1")),
    ("sglang serve --x ${X-} --y 1", ("--x", "${X-}", "--y", "1")),
    ("sglang serve --x=${X:-} --y 1", ("--x=${X:-}", "--y", "1")),
    ("sglang serve --x \\\n  ${X:-} \\\n  --y 1", ("--x", "${X:-}", "--y", "1")),
    ('X="${X:-}"\nsglang serve --x $X --y 1', ("--x", "${X:-}", "--y", "1")),
    ('A=(--x "${X:-}" --y 1)\nsglang serve "${A[@]}"', ("--x", "${X:-}", "--y", "1")),
    ("sglang serve --y 1 ${X:-}", ("--y", "1")),
    ('X="${X:-}"\nsglang serve --y 1 $X', ("--y", "1")),
    ('X=\nsglang serve --x "${X:-}" --y 1', ("--x", "", "--y", "1")),
    ("X=2\nsglang serve --x ${X:-} --y 1", ("--x", "2", "--y", "1")),
    ('if [ -n "${X:-}" ]; then A="--x $X"; fi\nsglang serve --y 1 $A', ("--y", "1", "$A")),
]


@pytest.mark.parametrize(("script", "words"), UNSET)
def test_what_whoever_runs_it_is_to_set_is_unknown_where_an_option_wants_it(
    script: str, words: tuple[str, ...]
) -> None:
    [launch] = read(f"{script}\n").launches

    assert launch.words == words


def test_a_sum_with_what_a_template_fills_in_is_unknown_and_ends_nothing() -> None:
    script = "R=$(( ${I:-0} * {{ or .A 1 }} ))\nsglang serve --x $R --y 1\n"

    [launch] = read(script).launches

    assert launch.words == ("--x", "$(( ${I:-0} * {{ or .A 1 }} ))", "--y", "1")
    assert launch.notes == ()
