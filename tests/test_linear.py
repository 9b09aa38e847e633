"""Whatever somebody gives to read takes time that grows with its length and no faster: one long
word, many words, flags, tracebacks, quotes, braces, here documents, brackets.

Processor time alone is looked at, and its ratio: a machine with others on it is no fault.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest

from launcher.config.load import PlanRequest, load
from launcher.diagnose.text import diagnose_text
from launcher.engines.engine import dialect
from launcher.engines.options import nearest_name
from launcher.engines.target import Target
from launcher.errors import UserError
from launcher.host import parsers
from launcher.lint.run import judge
from launcher.output.lint import Ask, run
from launcher.redact.bundle import Scrubber
from launcher.redact.secrets import hide

PIECES: dict[str, Callable[[int], str]] = {
    "a long word": lambda n: "a",
    "a long name": lambda n: "key_",
    "dashes": lambda n: "a-",
    "assignments": lambda n: "a=",
    "names of secrets": lambda n: "password=",
    "headers": lambda n: "Bearer ",
    "addresses": lambda n: "://a:",
    "words": lambda n: f"w{n} ",
    "flags": lambda n: f"--flag-{n} ",
    "a flag again": lambda n: "--tp 8 ",
    "variables": lambda n: f"export NAME_{n}=1\n",
    "secrets": lambda n: f"export A{n}_TOKEN=secret-{n}xyz\n",
    "tracebacks": lambda n: "Traceback (most recent call last):\n",
    "whole tracebacks": lambda n: (
        f'[2026-11-24 05:10:07 TP{n % 9}] Traceback (most recent call last):\n  File "a{n}.py",'
        f" line {n}, in f\nRuntimeError: {n:x}\n"
    ),
    "exceptions": lambda n: f"RuntimeError: {n:x}\n",
    "private keys": lambda n: "-----BEGIN PRIVATE KEY-----\n",
    "quotes": lambda n: "\"'",
    "quoted words": lambda n: "'a' ",
    "braces": lambda n: "{",
    "expansions": lambda n: "${",
    "here documents": lambda n: "<<E\n",
    "brackets": lambda n: "[",
    "objects": lambda n: '{"a":',
    "control characters": lambda n: "\x1b[",
    "lines": lambda n: "\n",
}
LAUNCH = "python3 -m sglang.launch_server --model-path m --port 1"
PROFILE = '[flags]\nmodel-path = "/m"\n'


def repeated(kind: str, length: int) -> str:
    """A text of that length, of one kind of piece again and again."""
    made, size = [], 0
    for n in range(length):
        made.append(PIECES[kind](n))
        size += len(made[-1])
        if size >= length:
            break
    return "".join(made)


def cost(work: Callable[[str], object], text: str) -> float:
    """Seconds of processor time."""
    began = time.process_time()
    with (
        contextlib.suppress(UserError),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        work(text)
    return time.process_time() - began


def is_linear(work: Callable[[str], object], make: Callable[[int], str], length: int) -> None:
    """Four times the length takes about four times as long, and not sixteen times."""
    cost(work, make(length // 16))  # what is read and compiled once
    short, long = cost(work, make(length)), cost(work, make(4 * length))

    assert long <= 7 * short + 0.5, (short, long)


@pytest.mark.parametrize("kind", PIECES)
def test_hiding_secrets(kind: str) -> None:
    is_linear(hide, lambda length: repeated(kind, length), 1 << 16)


@pytest.mark.parametrize("kind", PIECES)
def test_a_bundle(kind: str) -> None:
    scrubber = Scrubber("sk-a-key-0123456789", {"USER": "alice"}, hosts=["gpu01"])
    is_linear(scrubber.clean, lambda length: repeated(kind, length), 1 << 15)


@pytest.mark.parametrize("kind", PIECES)
def test_a_diagnosis(kind: str) -> None:
    is_linear(
        lambda text: diagnose_text([text.encode()]), lambda length: repeated(kind, length), 1 << 15
    )


@pytest.mark.parametrize("kind", PIECES)
def test_a_pasted_host(kind: str, tmp_path: Path) -> None:
    def pasted(text: str) -> None:
        (tmp_path / "pasted").write_text(text)
        parsers.host(str(tmp_path / "pasted"))

    is_linear(pasted, lambda length: f"$ nvidia-smi\n{repeated(kind, length)}", 1 << 15)


FORMS = cycle(("{launch} {text}", "{launch} --foo='{text}'", "{text}\n{launch}"))


@pytest.mark.parametrize(("kind", "form"), [*zip(PIECES, FORMS, strict=False)])
def test_lint(kind: str, form: str, tmp_path: Path) -> None:
    """Up to as much as is read of a text; more costs no more, whatever it is: of each fourth kind,
    which are in all forms, it is tried.
    """

    def make(length: int) -> str:
        return form.format(launch=LAUNCH, text=repeated(kind, length))

    def shown(text: str) -> None:
        (tmp_path / "launch").write_text(text)
        run(Ask(str(tmp_path / "launch"), "fix"), Target("0.5.23", "sm120"))

    is_linear(shown, make, 1 << 11)
    if [*PIECES].index(kind) % 4 == 0:
        full, more = cost(shown, make(1 << 16)), cost(shown, make(1 << 18))

        assert more <= 3 * full + 1, (full, more)


@pytest.mark.parametrize("kind", PIECES)
def test_what_is_hidden_of_a_launch(kind: str) -> None:
    """A text of the size of any file: what is shown of it is looked at in full."""
    hidden = judge(f"HF_TOKEN=abcdef-0123456 {LAUNCH}", Target("0.5.23", "sm120")).hidden
    is_linear(hidden, lambda length: repeated(kind, length), 1 << 15)


PROFILES: dict[str, Callable[[int], str]] = {
    "flags": lambda n: PROFILE + "".join(f"unknown-{at} = 1\n" for at in range(n)),
    "odd flags": lambda n: PROFILE + "".join(f"'Un_known{at}' = 1\n" for at in range(n)),
    "tables of flags": lambda n: PROFILE + "".join(f"f{at} = {{a = 1}}\n" for at in range(n)),
    "keys": lambda n: "".join(f"k{at} = 1\n" for at in range(n)) + PROFILE,
    "keys of a table": lambda n: "[supervision]\n" + "".join(f"k{at} = 1\n" for at in range(n)),
    "variables": lambda n: f"{PROFILE}[env]\n" + "".join(f"K{at} = [1]\n" for at in range(n)),
    "reasons": lambda n: f"{PROFILE}[why]\n" + "".join(f"k{at} = ''\n" for at in range(n)),
    "tables": lambda n: PROFILE + "".join(f"[t{at}]\n" for at in range(n)),
    "a list": lambda n: f"{PROFILE}x = [{'1, ' * n}]\n",
    "dots": lambda n: f"{PROFILE}'{'a.' * n}' = 1\n",
    "a long name": lambda n: f"{PROFILE}{'f' * n} = 1\n",
    "a long value": lambda n: f"{PROFILE}load-format = '{'f' * n}'\n",
}


@pytest.mark.parametrize("kind", PROFILES)
def test_a_profile(kind: str, tmp_path: Path) -> None:
    def validated(text: str) -> None:
        (tmp_path / "p.toml").write_text(text)
        load(PlanRequest(str(tmp_path / "p.toml")), {"HOME": str(tmp_path)})

    is_linear(validated, PROFILES[kind], 225)
    full, more = cost(validated, PROFILES[kind](900)), cost(validated, PROFILES[kind](20_000))

    assert more <= 2 * full + 1, "what is longer than any profile is refused"


def test_which_option_somebody_meant_is_asked_of_words_that_may_be_one() -> None:
    within = dialect("sglang").options.release("0.5.23")
    is_linear(
        lambda text: [nearest_name(f"--{word}", within) for word in text.split()],
        lambda length: " ".join(f"unknown-{at}" for at in range(length)),
        100,
    )

    assert cost(lambda text: nearest_name(text, within), "--" + "a-" * 500_000) < 0.5
