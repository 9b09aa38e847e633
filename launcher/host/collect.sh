# What `doctor --hosts` sends to a host: sh reads it from standard input, and nothing is written or
# installed there. Each answer stands between two lines that begin with $MARK, which is random.
# Set above: MARK HOW PROFILE PYTHON PACKAGES MODEL SUDO

PATH=$PATH:$HOME/.local/bin:/usr/local/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin
LC_ALL=C
export PATH LC_ALL

say() { printf '\n%s %s\n' "$MARK" "$*"; }

within() { # SECONDS COMMAND...
    if command -v timeout >/dev/null 2>&1; then
        timeout -k 1 "$@"
    else
        shift
        "$@"
    fi
}

run() { # NAME COMMAND...: what a program says on both its streams
    name=$1
    shift
    command -v "$1" >/dev/null 2>&1 || return 0
    say begin "$name"
    within 10 "$@" </dev/null 2>&1
    say end "$name" $?
}

as_root() { # NAME COMMAND...: with sudo only where that was asked for
    if [ "$SUDO" = yes ] && [ "$(id -u)" != 0 ]; then
        name=$1
        shift
        run "$name" sudo -n "$@"
    else
        run "$@"
    fi
}

files() { # the contents of small files of /proc, each an answer
    for path; do
        [ -r "$path" ] || continue
        say begin "$path"
        cat "$path"
        say end "$path" $?
    done
}

value() { # WORD FILE: the word and the first line of a file
    [ -r "$2" ] && read -r line <"$2" && echo "$1 $line"
}

own() {
    echo "glm5-serve collect 1"
    for path in /sys/class/net/*; do
        value "mtu ${path##*/}" "$path/mtu"
        value "state ${path##*/}" "$path/operstate"
    done
    ip -o addr show 2>/dev/null | while read -r _ name family address _; do
        case $family in inet | inet6) echo "address $name ${address%%/*}" ;; esac
    done
    for path in /sys/class/infiniband/*; do [ -e "$path" ] && echo "infiniband ${path##*/}"; done
    [ -d /sys/class ] && echo "iommus"
    for path in /sys/class/iommu/*; do [ -e "$path" ] && echo "iommu ${path##*/}"; done
    value aspm /sys/module/pcie_aspm/parameters/policy
    value lockdown /sys/kernel/security/lockdown
    value huge_pages /sys/kernel/mm/transparent_hugepage/enabled
    value numa_balancing /proc/sys/kernel/numa_balancing
    value swappiness /proc/sys/vm/swappiness
    # shellcheck disable=SC3045 # dash, bash, ksh and busybox have it
    echo "memlock $(ulimit -l 2>/dev/null)"
    command -v nvidia-smi >/dev/null 2>&1 || echo "missing nvidia-smi"
}

packages='
import sys
from importlib import metadata
print("glm5-serve collect 1\npython %d.%d.%d" % sys.version_info[:3])
for name in sys.argv[1:]:
    try:
        print("package", name, metadata.version(name))
    except metadata.PackageNotFoundError:
        pass
'

# shellcheck disable=SC2016 # another shell expands it
# The same marks as launcher/host/collectors/digests.py makes; $1 is a folder, or a name on the hub.
checkpoint='
echo "glm5-serve collect 1"
case $1 in
/*) ;;
*/*)
    hub=${HF_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface}/hub}
    hub=$hub/models--${1%%/*}--${1#*/}
    read -r commit <"$hub/refs/main" && set -- "$hub/snapshots/$commit"
    ;;
esac
cd -- "$1" || exit 1
echo "model $PWD"
for file in *; do
    [ -f "$file" ] || continue
    case $file in *.safetensors | *.json | *.jinja | *.model | *.tiktoken) ;; *) continue ;; esac
    size=$(stat -Lc %s -- "$file") || exit 1
    if [ "${file%.safetensors}" = "$file" ] && [ "$size" -le 134217728 ]; then
        sum=$(sha256sum <"$file") || exit 1
        echo "file ${sum%% *} $file"
    else
        echo "size $size $file"
    fi
done
echo "complete"
'

installed() { # its own glm5-serve tells more, and is asked first
    if ! command -v glm5-serve >/dev/null 2>&1; then
        [ "$HOW" = facts ] && say begin facts && say end facts 127
        return 1
    fi
    say begin facts
    if [ -n "$PROFILE" ]; then
        glm5-serve facts -p "$PROFILE" </dev/null
    else
        glm5-serve facts </dev/null
    fi
    status=$?
    say end facts $status
    return $status
}

# The driver last: a GPU that hangs costs what comes after it.
collect() {
    files /proc/cmdline /proc/driver/nvidia/version /proc/driver/nvidia/params /proc/meminfo
    run uname uname -a
    run lscpu lscpu
    run numactl numactl -H
    run ibstat ibstat
    say begin own
    own
    say end own $?
    as_root dmesg dmesg
    as_root lspci lspci -vvv -D
    # shellcheck disable=SC2086,SC2153 # names without blanks, set above
    [ -n "$PYTHON" ] && run packages "$PYTHON" -c "$packages" $PACKAGES
    [ -n "$MODEL" ] && run checkpoint sh -c "$checkpoint" sh "$MODEL"
    run nvidia-smi-q nvidia-smi -q
    run topo nvidia-smi topo -m
    run p2p-read nvidia-smi topo -p2p r
    run p2p-write nvidia-smi topo -p2p w
}

main() {
    if [ "$HOW" != script ]; then
        installed && return
        [ "$HOW" = facts ] && return
    fi
    collect
    say complete
}

main
