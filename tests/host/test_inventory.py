"""Lists of hosts: names, files, Ansible's inventories; and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import UserError
from launcher.host.inventory import UNREAD, Hosts, Target, hosts
from launcher.host.inventory_text import groups, members, variables
from launcher.host.remote import Ask, command

INI = """\
# the fleet
lone.example

[gpu]
gpu[01:03].dc1 ansible_host=10.0.0.1 # its cable
bastion ansible_port=2222 ansible_user=ops

[spare]
gpu03.dc1 ansible_user=other

[both:children]
gpu
spare

[gpu:vars]
ansible_user = deploy
"""
YAML = """\
---
all:
  vars:
    ansible_user: deploy
  hosts:
    lone.example:
  children:
    gpu:
      hosts:
        gpu[1:2].dc1: {ansible_port: 2222}
        bastion:
          ansible_host: 10.0.0.9
          ansible_user: ops
    spare:
      hosts:
        gpu2.dc1:
"""


# Each level twice the one before: 2^20 groups in 21 lines.
BOMB = "g0: &g0 {}\n" + "".join(
    f"g{n}: &g{n} {{children: {{a{n}: *g{n - 1}, b{n}: *g{n - 1}}}}}\n" for n in range(1, 21)
)


def file(folder: Path, text: str, name: str = "hosts") -> str:
    path = folder / name
    path.write_text(text)
    return f"@{path}"


def names(found: Hosts) -> list[str]:
    return [one.name for one in found.targets]


def test_names_with_commas_are_hosts_each_once_in_their_order() -> None:
    assert names(hosts("b, a,b,,c")) == ["b", "a", "c"]


@pytest.mark.parametrize("word", ["g[08:10]", "g[08-10]"])
def test_a_range_stands_for_its_names(word: str) -> None:
    assert names(hosts(f"{word},x")) == ["g08", "g09", "g10", "x"]
    assert names(hosts("r[a:b]-n[1:3:2]")) == ["ra-n1", "ra-n3", "rb-n1", "rb-n3"]


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("gpu1", Target("gpu1", "gpu1")),
        ("ops@gpu1", Target("ops@gpu1", "gpu1", "ops")),
        ("gpu1:2222", Target("gpu1:2222", "gpu1", None, 2222)),
        ("ops@10.0.0.1:22", Target("ops@10.0.0.1:22", "10.0.0.1", "ops", 22)),
        ("fd00::1", Target("fd00::1", "fd00::1")),
        ("[fd00::1]:2222", Target("[fd00::1]:2222", "fd00::1", None, 2222)),
    ],
)
def test_user_address_and_port_are_told_apart(word: str, target: Target) -> None:
    assert hosts(word).targets == (target,)


# What ssh, its configuration or a shell could take for something else.
ODD = [
    "-oProxyCommand=id",
    "--",
    "a;id",
    "$(id)",
    "`id`",
    "a b",
    "a\nb",
    "a%h",
    "a'b",
    "a|b",
    "a/b",
    "../x",
    "a\x1b[2J",
    "gpü",
    "u;id@h",
    "-l@h",
    "u@-h",
    "u@",
    "h:0",
    "h:65536",
    "h:x",
    "[h]:22",
    "fe80::1%eth0",
    "x" * 300,
]


@pytest.mark.parametrize("word", ODD)
def test_odd_names_are_refused_wherever_they_stand(word: str, tmp_path: Path) -> None:
    places = [word, f"good,{word}"]
    if "\n" not in word and "'" not in word:
        places += [
            file(tmp_path, f'good\n"{word}"\n'),
            file(tmp_path, f"all:\n  hosts:\n    {word!r}:\n"),
        ]
        places += (
            [file(tmp_path, f'good ansible_host="{word}"\n', "ini")] if "@" not in word else []
        )
    for said in places:
        with pytest.raises(UserError) as refusal:
            hosts(said)
        assert refusal.value.fix


@given(st.text(max_size=30))
def test_no_word_of_ssh_comes_from_a_name_but_user_port_and_address(word: str) -> None:
    """The law: whatever is given, ssh gets the same words, with a name that is none of its own."""
    try:
        targets = hosts(word.lstrip("@")).targets
    except UserError:
        return
    for target in targets:
        words = command("ssh", target, Ask())
        at = words.index("--")
        assert words[at + 1 :] == [target.address, "sh -s"]
        assert not target.address.startswith("-")
        assert not set(target.address) & set(" ;|&$`'\"\\%\n/")


def test_a_plain_list_is_a_host_a_line(tmp_path: Path) -> None:
    said = file(tmp_path, "# rack 1\na\n\nops@b:2222   # the second\n  c\n")

    assert names(hosts(said)) == ["a", "ops@b:2222", "c"]


def test_an_ini_inventory_has_ranges_groups_children_and_variables(tmp_path: Path) -> None:
    said = file(tmp_path, INI)
    found = {one.name: one for one in hosts(f"{said}:both").targets}

    assert list(found) == ["gpu01.dc1", "gpu02.dc1", "gpu03.dc1", "bastion"]
    assert found["gpu01.dc1"] == Target("gpu01.dc1", "10.0.0.1", "deploy")
    assert found["gpu03.dc1"].user == "other"
    assert found["bastion"] == Target("bastion", "bastion", "ops", 2222)
    assert "lone.example" in names(hosts(said))


def test_a_yaml_inventory_has_the_same(tmp_path: Path) -> None:
    said = file(tmp_path, YAML, "hosts.yml")
    found = {one.name: one for one in hosts(said).targets}

    assert set(found) == {"lone.example", "gpu1.dc1", "gpu2.dc1", "bastion"}
    assert found["lone.example"].user == "deploy"
    assert found["gpu2.dc1"].port == 2222
    assert found["bastion"] == Target("bastion", "10.0.0.9", "ops")
    assert names(hosts(f"{said}:spare")) == ["gpu2.dc1"]


@pytest.mark.parametrize(
    "text",
    [
        "all: {hosts: {a: , b: {ansible_port: 2222}}}\n",
        "'all':\n  hosts:\n    a:\n    b: {ansible_port: 2222}\n",
        '{"all": {"hosts": {"a": null, "b": {"ansible_port": 2222}}}}',
        '# ours\n{\n "gpu": {"hosts": {"a": {}, "b": {"ansible_port": "2222"}}}\n}\n',
        "%YAML 1.1\n---\nall: {hosts: {a: , b: {ansible_port: 2222}}}\n",
        "all: !!python/object:os.system\n  hosts: {a: , b: {ansible_port: 2222}}\n",
        "- a\n- b:2222\n",
        '["a", "b:2222"]',
        '[\n "a",\n "b:2222"\n]\n',
    ],
)
def test_yaml_and_json_are_known_however_they_begin(tmp_path: Path, text: str) -> None:
    first, second = hosts(file(tmp_path, text)).targets

    assert (first.address, second.address, second.port) == ("a", "b", 2222)


def test_a_merge_of_yaml_gives_what_is_not_said_beside_it(tmp_path: Path) -> None:
    text = "x:\n  vars: &v {ansible_user: a, ansible_port: '2'}\n  hosts:\n    h: {<<: *v, ansible_user: b}\n"
    (found,) = hosts(file(tmp_path, text, "h.yml")).targets

    assert (found.user, found.port) == ("b", 2)


def test_files_and_names_stand_beside_each_other(tmp_path: Path) -> None:
    said = file(tmp_path, "b\nc\n")

    assert names(hosts(f"a,{said},d")) == ["a", "b", "c", "d"]


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    text = "here ansible_connection=local\nthere ansible_host={{ ip }}\nfine\n"
    found = hosts(file(tmp_path, text))

    assert names(found) == ["fine"]
    told = "; ".join(found.notes)
    assert "here is not asked: ansible_connection=local" in told
    assert "there is not asked: its address is a template" in told
    assert "group_vars beside" in told


SSH = {
    "of a host": "a {0}='{1}'\n",
    "of a group": "[gpu]\na\nb\n[gpu:vars]\n{0}={1}\n",
    "in yaml": "all:\n  hosts:\n    a: {{{0}: '{1}'}}\n",
    "of a group in yaml": "gpu:\n  vars: {{{0}: '{1}'}}\n  hosts: {{a: , b: }}\n",
}


@pytest.mark.parametrize("text", SSH.values(), ids=SSH)
@pytest.mark.parametrize("key", UNREAD)
def test_what_leads_ssh_elsewhere_is_said_by_its_name_alone(
    tmp_path: Path, key: str, text: str
) -> None:
    found = hosts(file(tmp_path, text.format(key, "-J secret@jump")))

    (told,) = found.notes
    assert told.startswith(f"{key} of a")
    assert "was not read" in told
    assert "secret" not in told


def test_variables_that_ssh_is_not_led_by_are_no_matter(tmp_path: Path) -> None:
    text = "a ansible_become=yes rack=4 ansible_ssh_pipelining=no ansible_password=\n"

    assert hosts(file(tmp_path, text)).notes == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no host"),
        ("# nobody\n", "names no host"),
        ("here ansible_connection=local\n", "names no host"),
        ("[gpu:nonsense]\na\n", "no section [gpu:nonsense]"),
        ("[a:children]\nb\n", "child b that is not there"),
        ("a[1:99999999]\n", "no range"),
        ("a[5:1]\n", "no range"),
        ("a[1:x]\n", "no range"),
        ("a[1:4000][1:4000]\n", "more than 5000 hosts"),
        ("a[1:5:0]\n", "no range"),
        ("a 'b\n", "line 1: no closing quotation"),
        ("all:\n  hosts: {a\n", "line"),
        ("all:\n" + "".join(f"{'  ' * n}children:\n{'  ' * n} g{n}:\n" for n in range(1, 3)), "names no host"),
        ("#!/bin/sh\necho\n", "is a program"),
        ("a: &a {children: {b: *a}}\n", "recursive"),
        ("all: &x\n  children: *x\n", "recursive"),
        ("a: &a ['x', 'x']\nb: [*a, *a]\n", "is a list, wanted a mapping"),
        (BOMB, "more than 5000 groups, or one within itself"),
        ("all:\n  hosts: [a, b]\n", "hosts of group all is a list"),
        ("all:\n  hosts: a\n", "hosts of group all is a word"),
        ('{"_meta": {"hostvars": {}}, "gpu": {"hosts": ["a"]}}', "hosts of group gpu is a list"),
        ("{}", "names no host"),
        ("{ bad", "line"),
        ("all:\n\thosts:\n", "line 2"),
        ("a\0b", "is no list of hosts"),
        ("[gpu]\na\n", "no group others"),
    ],
)  # fmt: skip
def test_a_broken_list_is_one_clear_message(tmp_path: Path, text: str, said: str) -> None:
    given = file(tmp_path, text) + (":others" if "others" in said else "")
    with pytest.raises(UserError) as refusal:
        hosts(given)

    assert said in refusal.value.what
    assert refusal.value.fix


@pytest.mark.parametrize("place", ["@/nowhere", "@/", "@/dev/zero"])
def test_a_list_that_cannot_be_read_is_said(place: str) -> None:
    with pytest.raises(UserError) as refusal:
        hosts(place)

    assert "cannot read" in refusal.value.what


@given(st.text(alphabet="ab[]:0123 =\n#-{}'\"<*&", max_size=120))
def test_whatever_a_list_holds_it_is_read_or_refused(text: str) -> None:
    """The law: groups whose members all have variables, or one clear message."""
    try:
        read = groups(text, "x")
    except UserError:
        return
    assert set(members(read, "all")) == set(variables(read))


def test_groups_that_hold_each_other_end(tmp_path: Path) -> None:
    said = file(tmp_path, "[a:children]\nb\n[b:children]\na\n[b]\nx\n")

    assert names(hosts(f"{said}:a")) == ["x"]


def test_thousands_of_hosts_are_refused_before_any_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="wanted at most 2000"):
        hosts(file(tmp_path, "h[0001:2500]\n"))
