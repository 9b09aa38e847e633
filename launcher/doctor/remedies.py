"""One shell script that fixes what needs no hands: printed for review, never run by us."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from launcher.doctor.checks.iommu import REDIRECTS
from launcher.doctor.checks.judging import above_gpus
from launcher.host.facts import Host
from launcher.knowledge.iommu import CONTRARY, IOMMU_WORDS
from launcher.plan.findings import Finding, Severity

HEAD = """\
#!/bin/sh
# Made by `glm5-serve doctor --fix`. Read it, then run it as root; nothing of it was run.
# Each step names the checks it is for: `glm5-serve checks ID` explains one.
set -eu
[ "$(id -u)" = 0 ] || { echo 'run this as root' >&2; exit 1; }
"""

GRUB = r"""cp -n /etc/default/grub /etc/default/grub.before-glm5-serve
# keep NAME WORDS: of NAME=a,b on the kernel's line only those of WORDS stay
keep() {
    awk -v name="$1" -v words=" $2 " '
    match($0, /^GRUB_CMDLINE_LINUX[A-Z_]*=/) {
        done = substr($0, 1, RLENGTH); rest = substr($0, RLENGTH + 1)
        while (match(rest, "(^|[ \t\"\047])" name "(=[^ \t\"\047\\\\]*)?([ \t\"\047\\\\]|$)")) {
            before = substr(rest, 1, RSTART - 1); word = substr(rest, RSTART, RLENGTH)
            rest = substr(rest, RSTART + RLENGTH)
            if (word ~ /^[ \t"\047]/) { before = before substr(word, 1, 1); word = substr(word, 2) }
            if (word ~ /[ \t"\047\\]$/) {
                rest = substr(word, length(word)) rest; word = substr(word, 1, length(word) - 1)
            }
            value = word; sub(/^[^=]*=?/, "", value); kept = ""
            for (n = split(value, part, ","); n > 0; n--) {
                key = part[n]; sub(/=.*/, "", key)
                if (key != "" && index(words, " " key " ")) kept = part[n] (kept == "" ? "" : "," kept)
            }
            sub(/=.*/, "", word)
            if (kept != "") before = before word "=" kept
            else if (done before ~ /["\047=]$/) sub(/^[ \t]+/, "", rest)
            else sub(/[ \t]+$/, "", before)
            done = done before
        }
        $0 = done rest
    }
    { print }' /etc/default/grub > /etc/default/grub.glm5-serve
    cat /etc/default/grub.glm5-serve > /etc/default/grub
    rm /etc/default/grub.glm5-serve
}
# put WORD: in front of the others
put() {
    grep -q "^GRUB_CMDLINE_LINUX_DEFAULT=[\"']" /etc/default/grub ||
        sed -i "\$aGRUB_CMDLINE_LINUX_DEFAULT=\"\$GRUB_CMDLINE_LINUX_DEFAULT\"" /etc/default/grub
    last=$(grep -n "^GRUB_CMDLINE_LINUX_DEFAULT=[\"']" /etc/default/grub | tail -n 1 | cut -d: -f1)
    sed -i -e "${last}s/=\([\"']\) */=\1$1 /" -e "${last}s/=\([\"']\)$1 \1/=\1$1\1/" /etc/default/grub
}
"""
GRUB_END = """\
if command -v update-grub >/dev/null; then update-grub; else grub2-mkconfig -o /boot/grub2/grub.cfg; fi
echo 'reboot for the kernel command line to take effect'
"""
# The words that each of these checks asks for on the kernel's command line.
PUT = {
    "iommu-translation": ("iommu=pt",),
    "iommu-parameters": ("iommu=pt",),
    "kernel-iommu-faults": ("iommu=pt",),
    "kernel-link-down": ("pcie_aspm=off", "pcie_port_pm=off"),
    "pcie-power-saving": ("pcie_aspm=off", "pcie_port_pm=off"),
    "huge-pages": ("transparent_hugepage=madvise",),
    "acs-override": (),
}
# What may stay beside such a word, by name: whatever it does not speak against. The word itself is
# not among it, for it is put back once; a name that is not here has one value, the one that is put.
STAYS: dict[str, set[str]] = {
    **{name: words - {"pt", *CONTRARY} for name, words in IOMMU_WORDS.items()},
    "iommu.passthrough": set(),
}

ACS = """\
# Clears request and completion redirect, and no other bit, on the bridges where they were seen. The firmware sets
# them again, so it is done at each boot.
cat > /etc/systemd/system/glm5-serve-acs.service <<'UNIT'
[Unit]
Description=Let GPUs reach each other without the root complex (ACS redirect off)
Before=nvidia-persistenced.service

[Service]
Type=oneshot
RemainAfterExit=yes
{commands}

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --now glm5-serve-acs.service
"""

GOVERNOR = """\
cat > /etc/systemd/system/glm5-serve-governor.service <<'UNIT'
[Unit]
Description=Run the CPUs at full clock

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'for f in /sys/devices/system/cpu/cpufreq/*/scaling_governor; do echo performance > $f; done'

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --now glm5-serve-governor.service
"""

SYSCTL = {"numa-balancing": "kernel.numa_balancing = 0", "swap": "vm.swappiness = 0"}
LIMITS = {
    # a line for everybody is not one for root: limits.conf(5)
    "locked-memory": "* - memlock unlimited\nroot - memlock unlimited",
    "open-files": "* - nofile 65536\nroot - nofile 65536",
    "core-dumps": "* - core 0\nroot - core 0",
}


def script(host: Host, findings: Sequence[Finding]) -> str:
    """The script for the findings that are not well; what only hands or a profile can fix stands
    in comments.
    """
    unwell = {
        found.id: found for found in findings if found.severity > Severity.OK and not found.allowed
    }
    parts, done = [HEAD], set()
    for ids, make in STEPS:
        if (
            here := [
                id for id in ids if id in unwell and unwell[id].severity is not Severity.UNKNOWN
            ]
        ) and (text := make(host, here)):
            done |= set(here)
            parts += ["\n", *(f"# {id}: {_comment(unwell[id].evidence)}\n" for id in here), text]
    rest = [found for found in unwell.values() if found.id not in done and found.fix]
    if rest:
        parts += [
            "\n# Not for a script:\n",
            *(f"#   {found.id}: {_comment(found.fix)}\n" for found in rest),
        ]
    return "".join(parts)


def _comment(text: str) -> str:
    """One line, whatever a recorded host says: the rest of the script is ours."""
    return " ".join(re.sub(r"[^\x20-\x7e]", " ", text).split())


def _grub(host: Host, ids: Collection[str]) -> str:
    put = dict.fromkeys(word for id in ids for word in PUT[id])
    stays: dict[str, set[str]] = {word.partition("=")[0]: set() for word in put}
    if "iommu" in stays:
        stays |= STAYS
    if "acs-override" in ids:
        stays["pcie_acs_override"] = set()
    return (
        GRUB
        + "".join(f"keep '{_either(name)}' '{' '.join(sorted(stays[name]))}'\n" for name in stays)
        + "".join(f"put '{word}'\n" for word in put)
        + GRUB_END
    )


def _either(name: str) -> str:
    """A parameter's name for awk: the kernel takes dashes and underscores alike."""
    return name.replace(".", "[.]").replace("_", "[-_]")


def boot_commands(host: Host, findings: Sequence[Finding]) -> list[str]:
    """What must be done at each boot, as a unit's ExecStart= has it: redirect bits, kernel
    settings.
    """
    unwell = {found.id for found in findings if found.severity in (Severity.WARN, Severity.FAIL)}
    acs = _clearing(host) if "acs-redirect" in unwell else []
    sysctls = [line for id, line in SYSCTL.items() if id in unwell]
    return [*acs, *(f"sysctl -w {line.replace(' ', '')}" for line in sysctls)]


def _clearing(host: Host) -> list[str]:
    """Clears request and completion redirect, and no other bit, of the bridges where they were
    seen.
    """
    bridges = [
        bridge.bdf
        for bridge in above_gpus(host)
        if REDIRECTS & set(bridge.acs.otherwise(()) or ())
        and re.fullmatch(r"[0-9a-f:.]+", bridge.bdf)
    ]
    return [f"setpci -s {bdf} ECAP_ACS+6.w=0:c" for bdf in bridges]


def _acs(host: Host, ids: Collection[str]) -> str:
    return ACS.format(commands="\n".join(f"ExecStart={line}" for line in _clearing(host)))


def _file(
    path: str, lines: dict[str, str], then: str = ""
) -> Callable[[Host, Collection[str]], str]:
    """A step that writes the lines of the checks that ask for them into a file of ours."""

    def make(host: Host, ids: Collection[str]) -> str:
        body = "\n".join(lines[id] for id in ids)
        return f"cat > {path} <<'CONF'\n{body}\nCONF\n{then}"

    return make


def _text(text: str) -> Callable[[Host, Collection[str]], str]:
    return lambda host, ids: text


def _raid(host: Host, ids: Collection[str]) -> str:
    names = [raid.name for raid in host.system.raids.otherwise(()) if raid.stripe_cache is not None]
    return "".join(
        f"echo 32768 > /sys/block/{name}/md/stripe_cache_size\n"
        for name in names
        if re.fullmatch(r"\w+", name)
    )


STEPS: tuple[tuple[tuple[str, ...], Callable[[Host, Collection[str]], str]], ...] = (
    (tuple(PUT), _grub),
    (("acs-redirect",), _acs),
    (
        ("driver-hmm",),
        _file(
            "/etc/modprobe.d/glm5-serve.conf",
            {"driver-hmm": "options nvidia_uvm uvm_disable_hmm=1"},
            "echo 'reboot, or reload nvidia_uvm with nothing running'\n",
        ),
    ),
    (
        tuple(SYSCTL),
        _file("/etc/sysctl.d/90-glm5-serve.conf", SYSCTL, "sysctl --system >/dev/null\n"),
    ),
    (
        tuple(LIMITS),
        _file("/etc/security/limits.d/90-glm5-serve.conf", LIMITS, "echo 'log in again'\n"),
    ),
    (("cpu-governor",), _text(GOVERNOR)),
    (
        ("driver-persistence",),
        _text("systemctl enable --now nvidia-persistenced || nvidia-smi -pm 1\n"),
    ),
    (("gpu-compute-mode",), _text("nvidia-smi -c 0\n")),
    (("container-devices",), _text("nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml\n")),
    (("disk-raid",), _raid),
)
