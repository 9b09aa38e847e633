"""The archive for a bug report: all that is needed, and nothing that is secret."""

from __future__ import annotations

import json
import re
import socket
import tarfile
import time
from pathlib import Path

import pytest
from conftest import World
from hypothesis import given
from hypothesis import strategies as st

from launcher.operate import bundle as collecting
from launcher.redact.bundle import Scrubber

KEY = "sk-planted-0123456789abcdef"
PLANTED = {
    "HF_TOKEN": "hf_PlantedPlantedPlanted1234",
    "AWS_SECRET_ACCESS_KEY": "planted/aws+key/987654",
    "MY_PASSWORD": "planted-password-55",
}
LINES = [
    f"server_args={{'api_key': '{KEY}', 'admin_api_key': 'planted-admin-key'}}",
    f"Authorization: Bearer {KEY}",
    "downloading with hf_AnotherPlantedToken12345678",
    "proxy https://planted-user:planted-pass@proxy.example/",
    "NVRM: GPU at PCI:0000:9b:00: GPU-509665ad-b600-ac93-3616-d754b23d636d",
    "NVRM: GPU Board Serial Number: 1650124014249",
    "token=planted-token-value&x=1",
    "connect to 10.11.12.13 from aa:bb:cc:dd:ee:ff in /home/planteduser/models",
    f"host {socket.gethostname()} says no",
]
SECRETS = [
    KEY, *PLANTED.values(), "planted-admin-key", "hf_AnotherPlanted", "planted-pass", "planted-token-value",
    "509665ad", "1650124014249", "10.11.12.13", "aa:bb:cc:dd:ee:ff", "planteduser",
]  # fmt: skip


def texts(archive: Path) -> dict[str, str]:
    """The files of a bundle by name."""
    with tarfile.open(archive) as bundle:
        members = {member.name.partition("/")[2]: bundle.extractfile(member) for member in bundle}
        return {name: file.read().decode() for name, file in members.items() if file}


@pytest.fixture
def bundle(world: World) -> dict[str, str]:
    """A bundle of a server with secrets planted everywhere."""
    file = world.folder / "key"
    file.write_text(KEY)
    file.chmod(0o600)
    world.faults(lines=LINES)
    world.run("up", "-p", "stub", "-d", "--api-key-file", str(file), **PLANTED)
    for text in (
        world.instance / "server.log",
        world.instance / "launcher.log",
        world.instance / "stacks-1.txt",
    ):
        with text.open("a") as log:
            log.write("\n".join([*LINES, *PLANTED.values()]) + "\n")
    events = world.instance / "events.jsonl"
    events.write_text(
        events.read_text() + json.dumps({"event": "warning", "reason": " ".join(LINES)}) + "\n"
    )
    done = world.run("bundle", "-p", "stub", "-o", "out.tar.gz", "--json", **PLANTED)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bundle"] == "out.tar.gz"
    assert (world.folder / "out.tar.gz").stat().st_mode & 0o777 == 0o600
    return texts(world.folder / "out.tar.gz")


def test_no_planted_secret_is_in_it(bundle: dict[str, str]) -> None:
    for name, text in bundle.items():
        found = [secret for secret in SECRETS if secret in text]
        assert not found, (name, found)
        assert not re.search(rf"(?<![^\W_]){socket.gethostname()}(?![^\W_])", text), name


def test_its_json_is_json(bundle: dict[str, str]) -> None:
    for name, text in bundle.items():
        for part in text.splitlines() if ".jsonl" in name else [text] if ".json" in name else []:
            json.loads(part)


def test_it_has_what_a_report_needs(bundle: dict[str, str]) -> None:
    assert {
        "README.txt",
        "plan.json",
        "state.json",
        "starts.json",
        "events.jsonl",
        "server.log",
        "stacks-1.txt",
    } <= set(bundle)
    assert {"facts.json", "doctor.json", "diagnosis.json", "kernel.txt", "version.txt"} <= set(
        bundle
    )
    assert json.loads(bundle["facts.json"])["schema"] == 1
    assert json.loads(bundle["doctor.json"])["findings"]
    assert "why" in json.loads(bundle["plan.json"])["settings"][0]
    assert "cause" in json.loads(bundle["diagnosis.json"])
    assert "Load weight begin" in bundle["server.log"]


def test_a_plan_and_facts_can_be_judged_again(bundle: dict[str, str], world: World) -> None:
    (world.folder / "facts.json").write_text(bundle["facts.json"])

    judged = world.run("doctor", "--facts", "facts.json", "-p", "stub", "--json")
    assert json.loads(judged.stdout)["findings"], judged.stderr


def test_only_the_last_starts_are_in_it(world: World) -> None:
    for _ in range(3):
        world.run("up", "-p", "stub", "-d")
        world.run("down")
    world.run("bundle", "-o", "out.tar.gz", "--starts", "2")

    assert texts(world.folder / "out.tar.gz")["server.log"].count("=== glm5-serve: run ") == 2


def test_no_line_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a key at the start of a file would not be known for one."""
    monkeypatch.setattr(collecting, "LARGEST", 12)
    log = tmp_path / "log"
    log.write_text("planted-key\nwhole\n")

    assert collecting._end(log) == "whole\n"


def test_a_broken_instance_still_makes_a_bundle(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    world.run("down")
    (world.instance / "plan.json").write_text("{")
    (world.instance / "state.json").write_text("\0")
    done = world.run("bundle", "-p", "stub", "-o", "out.tar.gz")

    assert done.returncode == 0, done.stderr
    assert texts(world.folder / "out.tar.gz")["doctor.json"].startswith("not collected: ")


def test_its_diagnosis_knows_what_the_kernel_said_of_this_server(world: World) -> None:
    """Of others, and of an earlier start, it does not count; a stray file is no rotated log."""
    world.run("up", "-p", "stub", "-d")
    world.run("down")
    (world.instance / "server.log.bak").write_text("x")
    fell_off, killed = (
        "NVRM: Xid (PCI:0000:61:00): 79, GPU has fallen off the bus.",
        "Out of memory: Killed process 7",
    )
    gpu = {"schema": 1, "profile": "stub", "event": "gpu"}
    lines = [gpu | {"line": fell_off, "ours": True}, gpu | {"line": killed, "ours": False}]
    before = world.run("events", "-n", "99", "--json").stdout

    for told, cause in (
        ("", "unknown"),
        ("".join(json.dumps(line) + "\n" for line in lines), "gpu-fell-off-bus"),
    ):
        (world.instance / "events.jsonl").write_text(before + told)
        assert world.run("bundle", "-p", "stub", "-o", "out.tar.gz").returncode == 0
        assert json.loads(texts(world.folder / "out.tar.gz")["diagnosis.json"])["cause"] == cause
    (world.instance / "events.jsonl").write_text(told + before)
    assert world.run("bundle", "-p", "stub", "-o", "out.tar.gz").returncode == 0
    assert json.loads(texts(world.folder / "out.tar.gz")["diagnosis.json"])["cause"] == "unknown"


def test_what_cannot_be_written_is_one_clear_message(world: World) -> None:
    never = world.run("bundle", "-p", "stub")
    world.run("up", "-p", "stub", "-d")
    nowhere = world.run("bundle", "-o", "nowhere/out.tar.gz")

    assert (never.returncode, nowhere.returncode) == (1, 78)
    assert "cannot write nowhere/out.tar.gz" in nowhere.stderr
    assert not list(world.folder.glob(".out*"))


ENVIRON = {
    **{
        name: f"plain-77 {name}"
        for name in "DB_PASS PGPASSWORD SECRET_KEY STORAGE_KEY GITHUB_PAT SSH_PASSPHRASE DOCKER_AUTH".split()
    },
    "USER": "alice",
    "SUDO_USER": "root",
    "PASSWORD": "ab12",
    "QUOTED_PASSWORD": 'pä"\\55',
    "USE_AUTH": "true",
    "SGLANG_USE_AITER_FP8_PER_TOKEN": "1",
    "IB_PKEY": "0x7fff",
    "SGLANG_LOG_DECODE_GRAPH_KEY": "frozen-value",
    "PUBLIC_KEY": "public-value",
}


def scrubber() -> Scrubber:
    """Of a host of which all is known, whatever host the tests run on."""
    return Scrubber("the-key-1", ENVIRON, hosts=["vm", "Gpu01.corp.acme.example"])


# Each line has a secret, PLANTED where no other is named behind the bar.
SECRET_LINES = """
Authorization: Basic PLANTED==
Authorization: Token PLANTED
curl -H 'authorization:PLANTED'
{'authorization': 'Basic PLANTED=='}
Bearer PLANTED
X-API-KEY: PLANTED
Api-Key: PLANTED
x-auth-token: PLANTED
Cookie: session=a; csrftoken=PLANTED
Set-Cookie: sid=PLANTED; Path=/
{"cookie": "a=b; sid=PLANTED"}
--api-key PLANTED
--api-key=PLANTED
--password PLANTED
--hf-token PLANTED
--ssl-keyfile-password PLANTED
['--api-key', 'PLANTED', '--port', '1']
["--hf-token", "PLANTED"]
api_key='pa$$!wordPLANTED'
ServerArgs(ssl_keyfile_password='PLANTED', port=1)
{\\"api_key\\":\\"PLANTED\\"}
{"password": "two words PLANTED"}
{"password": "a \\" quote PLANTED"}
passwd=PLANTED
PASSWORD=123456|123456
HF_TOKEN=xyz|xyz
DB_PASS=PLANTED
{"DB_PASS": "PLANTED"}
client_secret=PLANTED
authToken=PLANTED
admin_token='PLANTED'
aws_access_key_id=PLANTED
aws_secret_access_key = PLANTED
eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.PLANTED
AKIAPLANTED000000000
nvapi-PLANTED0000
github_pat_11PLANTED00000
glpat-PLANTED000000
AIzaPLANTED000000000000000000000000
sk-ant-api03-PLANTED00000
hf_PLANTED000000000000
redis://:PLANTED@db/0
postgres://bob:PLANTED@db/x
s3://AK:PLANTED@bucket
https://PLANTED@github.com/x
https://b/x?X-Amz-Signature=PLANTED
https://b/x?a=b&Signature=PLANTED&Key-Pair-Id=x
https://b/x?sv=2020&sig=PLANTED%3D
https://b/x?token=PLANTED
plain-77 DB_PASS, plain-77 PGPASSWORD, plain-77 SECRET_KEY, plain-77 STORAGE_KEY|plain-77
plain-77 GITHUB_PAT, plain-77 SSH_PASSPHRASE, plain-77 DOCKER_AUTH|plain-77
said ab12, and left|ab12
json "p\\u00e4\\"\\\\55"|55
VM kernel panic on vm|vm
vm:12:12 [0] NCCL INFO x|vm
gpu01 and GPU01.corp.acme.example|gpu01
node-3.corp.acme.example|acme
core_gpu01_77|gpu01
gpu-node-17:9822:9822 [0] NCCL INFO Bootstrap|gpu-node-17
[2026-11-24 03:10:11] gpu-node-17:98:99 [0] misc/shmutils.cc:88 NCCL WARN x, tcp://gpu-node-17|gpu-node-17
Nov 24 03:10:11 gpu-node-17 glm5-serve[1]: x|gpu-node-17
Nov  4 03:10:11 gpu-node-17 kernel: x|gpu-node-17
2026-11-24T03:10:11.123+00:00 gpu-node-17 kernel: x|gpu-node-17
Hostname     : gpu-node-17|gpu-node-17
dist_init_addr='gpu-node-17:20000'|gpu-node-17
connect to tcp://gpu-node-17:29500|gpu-node-17
REDIS_CREDENTIALS=PLANTED "credential": "PLANTED" pwd=PLANTED
https://hooks.slack.com/services/T000/B000/PLANTED
gsk_PLANTED012345678901234567890123 npm_PLANTED012345678901234567890123 pypi-AgEPLANTED0123456789
ya29.PLANTED0123456789
http://bob:p#ss/PLANTED@proxy:3128/
/home/bob/models|bob
/Users/bob/models|bob
/data/alice/models of alice|alice
203.0.113.77:29500|203.0
[10.1.2.3]:8101, 10.1.2.4.|10.1
eth0:192.168.7.7<0>|192.168
[2001:db8::1]:29500|2001
connect to 2001:db8:85a3::8a2e:370:7334: refused|2001
fe80::1ff:fe23:4567:890a%eth0|fe80
bob.b+x@acme.example.|bob
aa:bb:cc:dd:ee:ff|bb
AA-BB-CC-DD-EE-FF|BB
80:00:02:08:fe:80:00:00:00:00:00:00:11:22:33:44:55:66:77:88|33
S/N: ABC12345|ABC12345
Serial Number                : 1650124014249|1650124014249
DMI: Serial: ABC1234|ABC1234
509665AD-B600-AC93-3616-D754B23D636D|509665AD
MIG-509665ad-b600-ac93-3616-d754b23d636d|509665ad
CUDA_VISIBLE_DEVICES=GPU-509665ad|509665ad
"""


@pytest.mark.parametrize("line", SECRET_LINES.strip().splitlines())
def test_what_looks_secret_is_left_out(line: str) -> None:
    text, _, secret = line.partition("|")
    assert (secret or "PLANTED") in text
    assert (secret or "PLANTED").lower() not in scrubber().clean(text).lower()


@pytest.mark.parametrize(
    "kind", ["RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"]
)
@pytest.mark.parametrize("line", ["{}", "[TP0] {}"])
def test_a_private_key_is_left_out_even_if_rotation_cut_it(kind: str, line: str) -> None:
    whole = [
        line.format(part)
        for part in (f"-----BEGIN {kind}-----", "PLANTED", "PLANTED=", f"-----END {kind}-----")
    ]
    for lines in (["before", *whole, "after"], ["before", *whole[:-1]], [*whole[1:], "after"]):
        clean = scrubber().clean("\n".join(lines))
        assert "PLANTED" not in clean
        assert ("before" in clean, "after" in clean) == ("before" in lines, "after" in lines)


INNOCENT_LINES = """
Decode batch. #running-req: 1, #token: 1920, token usage: 0.94, gen throughput (token/s): 35.12, #queue-req: 0
Prefill batch. #new-seq: 1, #new-token: 8192, #cached-token: 12, token usage: 0.00
max_total_num_tokens=180191, per_token=61464, kv_bytes_per_token: 61464
--max-total-tokens 8192 --tokenizer-path /m --mem-fraction-static 0.9
"bytes_per_token": 61464
eos_token_id=151329, eos_token='<|endoftext|>', pad_token='EOS', bos_token=[1, 2]
ValueError: invalid token: unexpected end
flashinfer 0.6.11.2
"flashinfer-python": "0.5.23.1"
nccl 2.28.3.1
"nvidia-nccl-cu13": "2.28.3.1"
nvidia-curand==10.3.9.90
nvidia_cublas-13.0.2.14-py3-none-manylinux
tensorrt_libs 10.13.3.9, cuDNN 9.1.0.70, cublas version: 13.0.2.14
VBIOS 97.02.52.00.02, driver 580.95.05, firmware 22.31.1014.2
0000:61:00.0 00000000:61:00.0 PCI:0000:9b:00
2026-11-24 12:34:56 INFO 12:34:56.789
hf_quant_config.json hf_transfer_enabled hf_quant_config_loader_v2 hf-xet-download-worker-1
sk_buff sk_buff_allocation_failed sk-learn-compatible-version
serial: true, serial port, serial = False, serial: console ttyS0
Serial: 8250/16550 driver, 32 ports
api_key=None, admin_api_key=None, 'api_key': None, "api_key": null, ssl_keyfile_password=None
api_key is required
  File "/usr/lib/python3.12/site-packages/huggingface_hub/utils/_http.py", line 12, in hf_hub_download
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.
NCCL INFO Channel 00/02 : 0 1 2 3 4 5 6 7
NCCL INFO Trees [0] 1/-1/-1->0->-1 [1] 1/-1/-1->0->-1
127.0.0.1:8000 http://0.0.0.0:30000/v1 netmask 255.255.255.0 ::1 [::]:30000
std::vector<c10::IValue> c10d::Store at::native
glm5-serve@8xpro6000.service
frozen-value 0x7fff public-value 1 true
root vmlinuz kvm nvme
GOOGLE_APPLICATION_CREDENTIALS=/etc/gcp.json
npm_config_registry_url=x pypi-simple-index-mirror pwd: /srv/models credentials: /root/.aws/credentials
git+https://host:main/x@v1
PWD=/srv/glm5 oci://registry:5000/lmsysorg/sglang@sha256:0123
"""


@pytest.mark.parametrize("text", INNOCENT_LINES.strip("\n").splitlines())
def test_what_is_needed_stays(text: str) -> None:
    assert scrubber().clean(text) == text


def test_the_same_thing_has_the_same_name_everywhere() -> None:
    clean = scrubber().clean
    uuids = [f"{n}09665ad-b600-ac93-3616-d754b23d636d" for n in "5678"]

    assert clean(" ".join(f"GPU-{uuid}" for uuid in uuids)).endswith("GPU-[uuid 3] GPU-[uuid 4]")
    assert clean(f"GPU-{uuids[2].upper()} GPU-{uuids[1][:8]}") == "GPU-[uuid 3] GPU-[uuid 2]"
    assert (
        clean("node-9:1:1 [0] NCCL INFO to 10.0.0.1") == "[host 3]:1:1 [0] NCCL INFO to [address 1]"
    )
    assert (
        clean("vm, Node-9.x: 10.0.0.2, 10.0.0.1")
        == "[host 1], [host 3].x: [address 2], [address 1]"
    )


@pytest.mark.parametrize(
    ("data", "cleaned"),
    [
        (
            {"serial": 1650124014249, "DB_PASS": 12345, "n": 0.5, "ok": True},
            ["[serial 1]", "[redacted]", 0.5, True],
        ),
        ({"password": 'a"b\nc', "token": 61464, "x": None}, ["[redacted]", 61464, None]),
        ({"pid": 77777, "x": "a 77777"}, ["[redacted]", "a [redacted]"]),
        (
            {"argv": ["--hf-token", "PLANTED", "--port", 1]},
            [["--hf-token", "[redacted]", "--port", 1]],
        ),
        ({"packages": {"nvidia-nccl-cu13": "2.28.3.1"}}, [{"nvidia-nccl-cu13": "2.28.3.1"}]),
        ({"log": 'x api_key="y" "z', "vm": "vm"}, ['x api_key="[redacted]" "z', "[host 1]"]),
    ],
)
def test_json_stays_json(data: dict[str, object], cleaned: list[object]) -> None:
    scrub = Scrubber(None, {"PIN_PASSWORD": "77777"}, hosts=["vm"])

    assert json.loads(scrub.clean_json(json.dumps(data))) == dict(zip(data, cleaned, strict=True))
    assert scrub.clean_json('{"a": 1}\n{"b": \n') == '{"a": 1}\n{"b": \n'


@given(
    st.text(alphabet=st.characters(codec="ascii", categories=["L", "N"]), min_size=8),
    st.text(),
    st.text(),
)
def test_a_known_secret_never_survives(secret: str, before: str, after: str) -> None:
    clean = Scrubber(secret, ENVIRON, hosts=["vm"])

    assert not any(
        secret in part for part in clean.clean(before + secret + after).split("[redacted]")
    )
    data = json.loads(
        clean.clean_json(json.dumps({before: [secret + after], after + secret: secret}))
    )
    assert not any(secret in part for part in json.dumps(data).split("[redacted]"))


@pytest.mark.parametrize(
    "word", ["a", "-", "1.", "aa:", "token ", "--token", "-eyJ", "a@", "://", "\\", "-----BEGIN "]
)
def test_no_text_takes_long(word: str) -> None:
    """A search that grows with the square of a line would take hours for this one."""
    text = word * (200_000 // len(word))
    begin = time.process_time()
    scrubber().clean(text)

    assert time.process_time() - begin < 20
