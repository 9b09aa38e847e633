"""Keys: which files are taken, and that nothing printed keeps one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines.engine import NAMES as ENGINES
from launcher.engines.engine import dialect
from launcher.engines.issues import every_issue
from launcher.engines.sglang.runtime import RUNTIME
from launcher.errors import Exit, UserError
from launcher.knowledge.nccl import NAMES
from launcher.redact import keys
from launcher.redact.keys import read_key, remove_key, write_key
from launcher.redact.keyspelling import HIDDEN, spellings
from launcher.redact.secrets import SECRET_VARIABLE, hide

CATALOGUE = dialect("sglang").options


def scrub(text: str, key: str | None) -> str:
    """As the server's log is."""
    return hide(spellings(key).hide(text) if key else text)


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_key_is_one_word_of_a_file_of_ones_own(tmp_path: Path) -> None:
    assert read_key(write(tmp_path, "aZ0-._~+/==\n")) == "aZ0-._~+/=="


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UserError, match="is open to others") as refused:
        read_key(write(tmp_path, "key", mode))

    assert refused.value.status == Exit.CONFIG
    assert f"chmod 600 {tmp_path}/key" in refused.value.fix


def test_a_credential_is_guarded_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root's `restart` finds it, outside the service: systemd 257 lets the service in by an ACL,
    whose mask stands where the group's bits do.
    """
    folder = tmp_path / "glm5-serve@glm5.service"
    folder.mkdir()
    path = write(folder, "key", 0o440)
    monkeypatch.setattr(keys, "CREDENTIALS", tmp_path)
    if os.geteuid() == 0:  # systemd's folders are root's
        assert read_key(path) == "key"
        os.chown(folder, 65534, 65534)
    with pytest.raises(UserError, match="is open to others"):
        read_key(path)


@pytest.mark.parametrize(
    "text", ["", "\n", "two words", "two\nlines", 'quo"te', "ümlaut", "=", "a=b"]
)
def test_what_is_no_bearer_token_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="holds no usable API key") as refused:
        read_key(write(tmp_path, text))

    assert text.strip() == "" or text == "=" or text not in refused.value.what
    assert "= at its end alone" in refused.value.what


KEY = "sk+Adv/9xQ7_z~k.3-wM5"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"key {KEY[:8]}... is", "key [redacted]... is"),
        (f"key '{KEY[:12]}'... is", "key '[redacted]'... is"),
        (f"{{'key': '{KEY[:9]}\u2026'}}", "{'key': '[redacted]\u2026'}"),
        (f"{KEY[:10]}[line cut]", "[redacted][line cut]"),
        (f"key {KEY[:-1]} is", "key [redacted] is"),
        (f"key {KEY[1:]} is", "key [redacted] is"),
        (f"{KEY[:14]} {KEY[-14:]}", "[redacted] [redacted]"),
        (f"{KEY}{KEY[:8]}..", "[redacted][redacted].."),
        (f"key {KEY[:7]}... is", None),  # as much as any key of an issuer begins with
        (f"key {KEY[:10]} is", None),
        (f"key {KEY[-11:]} is", None),
        (f"key {KEY[5:16]} is", None),
    ],
)
def test_most_of_a_key_or_its_beginning_before_a_cut_is_hidden(
    text: str, hidden: str | None
) -> None:
    assert spellings(KEY).hide(text) == (hidden or text)


def test_a_name_that_a_key_begins_with_stays() -> None:
    log = "glm5-serve: ready to roll; glm5-serve 0.1 ... done"
    assert spellings("glm5-serve-9f8e7d6c5b4a").hide(log) == log


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(UserError, match="API key file"):
            read_key(path)
    (tmp_path / "binary").write_bytes(b"\xff\xff")
    with pytest.raises(UserError, match="not text"):
        read_key(tmp_path / "binary")


def test_an_offered_key_is_readable_by_its_user_alone_and_withdrawn(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("what an earlier launcher left, open to others")
    config.chmod(0o644)
    write_key(str(config), RUNTIME.key.file % "sekret")

    assert config.read_text() == 'api-key: "sekret"\n'
    assert config.stat().st_mode & 0o777 == 0o600
    remove_key(str(config))
    remove_key(str(config))
    assert not config.exists()


@given(st.text(), st.from_regex(r"[A-Za-z0-9._~+/-]{6,40}", fullmatch=True), st.text())
def test_a_scrubbed_text_has_no_key(before: str, key: str, after: str) -> None:
    assert not any(key in part for part in scrub(before + key + after, key).split(HIDDEN))


@pytest.mark.parametrize(
    "text",
    [
        "server_args={'api_key': '?', 'port': 1}",
        "ServerArgs(api_key='?', port=1)",
        'launch_command":"--api-key ? --model-path m"',
        '"admin_api_key":"?"',
        "api-key: ?",
        "--admin-api-key=?",
        "['--api-key', '?', '--port', '1']",
        "X-API-KEY: ?",
        "Api-Key: ?",
    ],
)
def test_a_key_is_hidden_where_sglang_prints_one_even_if_it_is_not_ours(text: str) -> None:
    assert scrub(text.replace("?", "somebody-elses"), None) == text.replace("?", HIDDEN)


@pytest.mark.parametrize("key", ["pa$$!word#99", "two words", 'a"b', "a,b;c"])
def test_all_of_a_quoted_key_is_hidden(key: str) -> None:
    assert scrub(f"(api_key={key!r}, port=1)", None) == f"(api_key={HIDDEN!r}, port=1)"


def test_no_key_is_not_hidden() -> None:
    text = (
        "an api_key is required; ServerArgs(api_key=None, admin_api_key=None) {'api_key': None}"
        ' "api_key":null'
    )

    assert scrub(text, None) == text


def test_a_key_in_json_in_json_is_hidden() -> None:
    assert "elses" not in scrub(r'{"body": "{\"api_key\":\"somebody-elses\"}"}', None)


def test_a_key_that_begins_like_none_is_hidden() -> None:
    assert "elses" not in scrub("api_key='None-of-somebody-elses'", None)


SECRET = (
    "HF_TOKEN DB_PASS PGPASSWORD SECRET_KEY OPENAI_APIKEY GITHUB_PAT SSH_PASSPHRASE MYSQL_PWD"
    " DOCKER_AUTH"
)


def test_variables_are_secret_by_their_names() -> None:
    known = {
        name for release in CATALOGUE.releases for name in CATALOGUE.release(release).variables
    } | NAMES

    assert all(SECRET_VARIABLE.search(name) for name in SECRET.split())
    assert not any(
        SECRET_VARIABLE.search(name)
        for name in "PWD PATH IB_PKEY PUBLIC_KEY COMPASS SSH_AUTH_SOCK".split()
    )
    assert {name for name in known if SECRET_VARIABLE.search(name)} == {
        "SGLANG_DIFFUSION_SLACK_TOKEN", "SGLANG_PRECISION_HF_TOKEN", "SGLANG_S3_SECRET_ACCESS_KEY",
        "API_KEY", "CRUSOE_API_KEY", "EXA_API_KEY", "HF_TOKEN", "OPENAI_API_KEY",
    }  # fmt: skip


def sentences() -> list[str]:
    """Ours, of each option that takes a key."""
    made = []
    for engine in map(dialect, ENGINES):
        release = engine.options.release(engine.options.newest)
        for name in engine.secrets:
            word = f"--{name}"
            twice = release.given([word, "--port", "1"])
            made += [one.problem for one in twice if one.problem]
            made += [f"{word}: left out: not in {release.name}", f"argument {word} and no other"]
            made += [f"{word}: given again further on", f"write the key behind {word} in a file"]
    made += [issue.what for issue in every_issue()]
    return made


@pytest.mark.parametrize("text", sentences())
def test_a_sentence_of_ours_is_no_key(text: str) -> None:
    assert scrub(text, None) == text


@given(st.text(st.characters(exclude_characters="yY")))
def test_a_text_without_the_name_of_a_key_is_unchanged(text: str) -> None:
    assert scrub(text, None) == text


@pytest.mark.parametrize(
    "text", ['--api-key "wants"', "api_key=wants", "--api-key wantsmore", "--api-key isk-1"]
)
def test_a_key_that_looks_like_a_sentence_is_hidden_where_it_is_none(text: str) -> None:
    assert HIDDEN in scrub(text, None)
