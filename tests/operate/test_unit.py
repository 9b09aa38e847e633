"""Units: whatever stands in an option stands in its one directive, or is refused; files are put in
place whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import GLM5_SERVE, World
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rig.systemd_host import SystemdHost

from launcher.cli import cli
from launcher.cli.observe import _wish
from launcher.config import layers
from launcher.errors import Exit, UserError
from launcher.operate import systemd, unit_check, unit_files
from launcher.operate.unit_files import Wish, files

HARMLESS: dict[str, Any] = {
    "profile": "PROFILE",
    "user": "USERNAME",
    "api_key_file": Path("/KEY"),
    "root": Path("/ROOT"),
    "no_metrics": False,
    "gateway": False,
    "listen": "",
}
Directives = list[tuple[str, str, str]]


def directives(text: str) -> Directives:
    """Section, name and value of each directive, as systemd reads a unit (systemd.syntax, its
    read_line).
    """
    read: Directives = []
    section, held = "", ""
    for end in "\r\0":
        text = text.replace(end, "\n")
    for line in text.split("\n"):
        if line.strip()[:1] in ("#", ";"):
            continue  # also between continued lines
        if line.endswith("\\") and (len(line) - len(line.rstrip("\\"))) % 2:
            held += f"{line[:-1]} "
            continue
        whole, held = (held + line).strip(), ""
        if whole.startswith("["):
            section = whole
        elif whole:
            name, equals, value = whole.partition("=")
            assert equals, f"systemd would complain of {whole!r}"
            read.append((section, name.strip(), value.strip()))
    return read


def made(**words: Any) -> dict[Path, Directives]:
    """The directives of every file of an installation. Raises UserError."""
    return {path: directives(text) for path, text in files(_wish({**HARMLESS, **words})).items()}


def expected(**replaced: str) -> dict[Path, Directives]:
    """Those of the harmless installation, with other words in the places of its own."""

    def other(text: str) -> str:
        for name, value in replaced.items():
            text = text.replace(name, value)
        return text

    return {
        Path(other(str(path))): [(section, name, other(value)) for section, name, value in read]
        for path, read in made().items()
    }


NASTY = st.text(
    st.sampled_from("aZ0_-.%\\\"' \t\n\r\0;#$:=[]/~\x1b\x7f\u202e\u2028\u00a0\ud800\udcff")
    | st.characters(),
    max_size=12,
)
EXAMPLES = (
    "x\nExecStartPre=/bin/evil",
    "x\rExecStartPre=/bin/evil",
    "x\0y",
    "x\\",
    "x ",
    " x",
    "%n",
    "100%",
    'a"b',
    "a'b",
    "a b",
    "a;b",
    "#a",
    "..",
    "ordinary",
    "first.last",
)
lists = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def with_examples(test: Callable[..., None]) -> Callable[..., None]:
    for text in EXAMPLES:
        test = example(text)(test)
    return lists(given(NASTY)(test))


def refused_or(act: Callable[[], dict[Path, Directives]]) -> dict[Path, Directives] | None:
    with contextlib.suppress(UserError):
        return act()
    return None


@with_examples
def test_a_user_stands_where_a_user_stands_or_is_refused(text: str) -> None:
    read = refused_or(lambda: made(user=text))

    assert read in (None, expected(USERNAME=text))
    if read:
        assert text.isascii()
        assert not set(text) & set("%\\\"' ;$")


@with_examples
def test_a_key_stands_where_a_key_stands_or_is_refused(text: str) -> None:
    read = refused_or(lambda: made(api_key_file=Path(f"/keys/x{text}")))
    place = os.path.normpath(f"/keys/x{text}")

    assert read in (None, expected(**{"/KEY": place.replace("%", "%%")}))


@with_examples
def test_another_root_moves_the_files_and_changes_none(text: str) -> None:
    read = refused_or(lambda: made(root=Path(f"/x{text}")))

    assert read in (
        None,
        {Path(f"/x{text}") / path.relative_to("/ROOT"): told for path, told in made().items()},
    )
    if read:
        assert all(str(path).isprintable() for path in read)


@with_examples
def test_a_profile_is_the_name_of_its_unit_or_is_refused(text: str) -> None:
    read = refused_or(lambda: made(profile=text))

    assert read in (None, expected(PROFILE=text))


@with_examples
def test_a_command_is_the_first_word_or_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(unit_files.programs, "find", lambda *_: "/COMMAND")
    harmless = made()
    monkeypatch.setattr(unit_files.programs, "find", lambda *_: f"/opt/x{text}/glm5-serve")
    read = refused_or(made)
    for path, told in (read or {}).items():
        for (section, name, value), (_, same, before) in zip(told, harmless[path], strict=True):
            if "/COMMAND" in before:
                assert first_word(value) == (
                    f"/opt/x{text}/glm5-serve",
                    before.removeprefix("/COMMAND"),
                )
                value = before
            assert (name, value) == (same, before), section


def first_word(value: str) -> tuple[str, str]:
    """The first word of a command line in a unit, and the rest: quotes taken off, specifiers
    read.
    """
    quote = value[:1] if value[:1] in "\"'" else ""
    word, _, rest = value[len(quote) :].partition(quote or " ")
    assert quote or not set(word) & set("\"'\\;"), "these mean something there"
    assert set(word.replace("%%", "")).isdisjoint("%")
    return word.replace("%%", "%"), rest if quote else f" {rest}"


@pytest.mark.parametrize(
    "name", ["my 100%i key", "o'clock", 'a "b" c', "a;#b", "x:y:z", "$HOME ${x}", "größe 模型"]
)
def test_systemd_itself_reads_a_key_as_it_is_called(host: SystemdHost, name: str) -> None:
    wish = _wish(
        {
            **HARMLESS,
            "profile": "p",
            "user": "daemon",
            "root": Path("/"),
            "api_key_file": Path(f"/etc/{name}"),
        }
    )
    for path, text in files(wish).items():
        host.write(str(path), text)
    host.systemctl("daemon-reload")
    where = "/org/freedesktop/systemd1/unit/glm5_2dserve_40p_2eservice"
    asked = (
        "org.freedesktop.systemd1",
        where,
        "org.freedesktop.systemd1.Service",
        "LoadCredential",
    )
    read = json.loads(host.run("busctl", "--json=short", "get-property", *asked).stdout)

    assert read["data"] == [["api-key", f"/etc/{name}"]]
    assert host.show("glm5-serve@p.service", "User")["User"] == "daemon"
    verified = host.run("systemd-analyze", "verify", "glm5-serve@p.service", check=False)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_who_reads_the_figures_is_taken_from_a_unit_only_if_it_is_a_user(tmp_path: Path) -> None:
    wish = Wish("p", user="mine", root=tmp_path)
    wish.units.mkdir(parents=True)
    for written, reader in (
        ("User=first", "first"),
        ("User=%i", "mine"),
        ("User=a\\\\b", "mine"),
        ("x" * 2_000_000, "mine"),
    ):
        (wish.units / unit_files.METRICS).write_text(f"[Service]\n{written}\n")
        assert unit_files.reader(wish) == reader
    (wish.units / unit_files.METRICS).unlink()
    os.mkfifo(wish.units / unit_files.METRICS)
    assert unit_files.reader(wish) == "mine"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--user", "x\nExecStartPre=/bin/evil"), "is not a user name for systemd"),
        (("--user", "-x"), "is not a user name for systemd"),
        (("--user", "100%"), "is not a user name for systemd"),
        (("--api-key-file", "k\nX=1"), "is no path that can stand in a unit"),
        (("--api-key-file", "k\\"), "is no path that can stand in a unit"),
        (("--root", "r\n# x"), "is no path that can stand in a unit"),
    ],
)
@pytest.mark.parametrize("verb", ["print", "install"])
def test_what_would_be_a_directive_of_its_own_is_refused(
    world: World, verb: str, words: tuple[str, ...], says: str
) -> None:
    refused = world.run("systemd", verb, "-p", "cpu-demo", *words)

    assert refused.returncode == Exit.USAGE
    assert says in refused.stderr
    assert refused.stdout == ""
    assert refused.stderr.count("\n") == 2


@pytest.fixture(scope="module")
def host() -> Iterator[SystemdHost]:
    with SystemdHost() as booted:
        yield booted


@pytest.fixture
def wish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wish:
    monkeypatch.setattr(unit_files.programs, "find", lambda *_: str(GLM5_SERVE))
    return Wish("p", user="root", root=tmp_path)


def test_files_have_the_mode_of_units_whatever_the_umask_is(wish: Wish) -> None:
    before = os.umask(0o077)
    try:
        systemd.install(wish, (), lambda _: None)
    finally:
        os.umask(before)
    for path in files(wish):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []


def test_a_file_is_replaced_and_not_written_into(wish: Wish) -> None:
    systemd.install(wish, (), lambda _: None)
    path = wish.units / unit_files.SERVICE
    path.write_text("old")
    with path.open() as old:
        systemd.install(wish, (), lambda _: None)
        assert old.read() == "old", "whoever reads it has a whole file"
    assert path.read_text() == files(wish)[path]


@pytest.mark.parametrize("kind", ["mask", "link", "folder", "fifo"])
def test_what_is_no_file_is_neither_written_nor_removed(
    wish: Wish, tmp_path: Path, kind: str
) -> None:
    path, other = wish.units / unit_files.METRICS, tmp_path / "other"
    other.write_text("somebody's")
    path.parent.mkdir(parents=True)
    put: dict[str, Callable[[], object]] = {
        "mask": lambda: path.symlink_to("/dev/null"),
        "link": lambda: path.symlink_to(other),
        "folder": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
    }
    put[kind]()
    with pytest.raises(UserError, match="is there, and no regular file") as refused:
        systemd.install(wish, (), lambda _: None)
    told: list[str] = []
    systemd.uninstall(wish, told.append)

    assert "systemctl unmask glm5-serve-metrics.service" in refused.value.fix
    assert not (wish.units / unit_files.SERVICE).exists(), "nothing was written"
    assert told == [f"left {path}: it is no regular file, and so not of `install`"]
    assert os.path.lexists(path)
    assert other.read_text() == "somebody's"


def test_a_folder_that_leads_out_of_the_root_is_not_followed(wish: Wish, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (tmp_path / "etc").symlink_to(outside)
    with pytest.raises(UserError, match="lies outside of"):
        systemd.install(wish, (), lambda _: None)

    assert list(outside.iterdir()) == []


def test_what_was_installed_is_removed_whole(wish: Wish) -> None:
    told: list[str] = []
    systemd.install(wish, (), told.append)
    systemd.uninstall(wish, told.append)

    named = {
        word: sorted(line.removeprefix(word) for line in told if line.startswith(word))
        for word in ("wrote ", "removed ")
    }
    assert named["wrote "] == named["removed "] != []
    assert not any(path.is_file() for path in wish.root.rglob("*"))


def test_a_user_who_is_not_there_is_said_so_before_anything_is_written() -> None:
    code = "from launcher.operate import systemd, unit_files; systemd._require_reach(unit_files.Wish('p', user='no-such-user'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert "there is no user no-such-user on this host" in done.stderr


def test_replicas_get_a_unit_each_that_waits_for_the_one_before(tmp_path: Path) -> None:
    profiles = tmp_path / "etc/glm5-serve/profiles"
    profiles.mkdir(parents=True)
    (profiles / "two.toml").write_text("replicas = 2\n[flags]\nmodel-path = '/m'\n")
    wishes = unit_files.each(Wish("two", root=tmp_path), {"HOME": "/nonexistent"})

    assert [one.instance for one in wishes] == [
        "glm5-serve@two@1.service",
        "glm5-serve@two@2.service",
    ]
    orders = [files(one).get(one.drop_ins / "order.conf") for one in wishes]
    assert orders == [None, "[Unit]\nAfter=glm5-serve@two@1.service\n"]
    for one in wishes:
        for path, text in files(one).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    assert [one.profile for one in unit_files.installed(Wish("two", root=tmp_path))] == [
        "two@1",
        "two@2",
    ]
    assert [one.profile for one in unit_files.installed(Wish("tw", root=tmp_path))] == ["tw"]
    named = unit_files.each(Wish("two@2", root=tmp_path), {"HOME": "/nonexistent"})
    assert [one.instance for one in named] == ["glm5-serve@two@2.service"]


def test_a_gateway_is_a_unit_that_holds_no_gpu_and_listens_where_it_is_said(
    tmp_path: Path,
) -> None:
    wish = Wish("front", root=tmp_path, gateway=True, listen="[::1]:8081")
    made = {path.name: text for path, text in files(wish).items()}

    told = directives(made["glm5-serve-gateway@.service"])
    assert ("[Service]", "PrivateDevices", "yes") in told
    assert not any(name == "DeviceAllow" for _, name, _ in told)
    commands = [value for _, name, value in directives(made["listen.conf"]) if name == "ExecStart"]
    assert commands == [
        "",
        f"{unit_files.word(unit_files.command())} gateway up %i --listen [::1]:8081",
    ]
    assert "glm5-serve@.service" not in made
    assert [one.instance for one in unit_files.each(wish, {})] == [
        "glm5-serve-gateway@front.service"
    ]


def test_a_place_to_listen_is_a_gateways_alone(world: World) -> None:
    done = world.run("systemd", "print", "stub", "--listen", "127.0.0.1:1")

    assert (done.returncode, "--listen is of a gateway" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("key", "shown"), [("/etc/passwd", True), ("/nowhere/key", False), ("", False)]
)
def test_print_hands_on_the_key_that_install_would(
    key: str, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The profile's own, where it is root's."""
    composed = SimpleNamespace(profile=SimpleNamespace(access=SimpleNamespace(api_key_file=key)))
    monkeypatch.setattr(unit_check, "load", lambda *_: composed)

    printed = CliRunner().invoke(cli, ["systemd", "print", "cpu-demo"])

    assert printed.exit_code == 0, printed.exception
    assert (f"LoadCredential=api-key:{key}\n" in printed.stdout) is shown
    assert ("api-key.conf" in printed.stdout) is shown


def test_a_key_in_a_folder_that_is_closed_is_taken_for_roots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def closed(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", closed)

    assert unit_check._is_roots(Path("/closed/key"))


@pytest.mark.parametrize("commands", [[], ["sysctl -w vm.swappiness=0"]])
def test_a_host_that_needs_nothing_at_each_boot_is_told_so(
    commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "host_commands", lambda: commands)

    printed = CliRunner().invoke(cli, ["systemd", "print", "cpu-demo", "--host"])
    without = CliRunner().invoke(cli, ["systemd", "print", "cpu-demo"])

    assert (f"/{unit_files.HOST}\n" in printed.stdout) is bool(commands)
    assert (f"no {unit_files.HOST}: doctor finds no setting" in printed.stderr) is not bool(
        commands
    )
    assert f"/{unit_files.HOST}\n" not in without.output
    assert "doctor finds no setting" not in without.output


def test_why_the_unit_does_not_look_there_is_the_reason_that_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another root, or another home."""
    here, home = tmp_path / "etc/glm5-serve/profiles", tmp_path / "config/glm5-serve/profiles"
    monkeypatch.setattr(layers, "HOST", here)
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}
    for folder in (here, home):
        folder.mkdir(parents=True)
        (folder / "p.toml").write_text('extends = "cpu-demo"\n')
        with pytest.raises(UserError) as told:
            unit_files.require_profile(Wish("p", root=Path("/else")), environ)
        is_home = folder == home
        assert ("it has another home" in told.value.what) is is_home
        assert ("below --root /else it is /else/etc/" in told.value.what) is not is_home
        assert told.value.fix == (
            f"`install -D -m 644 {folder}/p.toml /else/etc/glm5-serve/profiles/p.toml`"
        )
        (folder / "p.toml").unlink()


def test_who_is_not_root_is_told_of_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """/ is the root where none is named, and nobody but root may write there."""
    monkeypatch.setattr(os, "access", lambda _, mode, **__: not mode & os.W_OK)
    told = CliRunner().invoke(cli, ["systemd", "install", "-p", "nosuch"]).exception

    assert isinstance(told, UserError)
    assert "nosuch" in told.what
    assert "--root" not in told.what


@pytest.mark.parametrize(
    ("user", "said"),
    [("root", "runs as root"), ("messagebus", "of other services"), ("glm5-serve", ""), ("me", "")],
)
def test_a_user_that_has_more_than_a_server_is_noted(tmp_path: Path, user: str, said: str) -> None:
    told = " ".join(unit_files.remarks(unit_files.Wish("p", user, root=tmp_path)))

    assert (said in told) if said else not told
