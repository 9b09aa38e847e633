#!/usr/bin/env bash
# Docker compose and podman's quadlet as Debian 13 has them, unpacked into the folder $1 and not installed: Debian 12's
# podman has no quadlet, and its docker-compose is the old one. From where this machine's own packages come, root or not.
set -euo pipefail
to=$(mkdir -p "$1" && cd "$1" && pwd)
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
mkdir -p "$made"/{lists,cache/archives}/partial
from=$(apt-get indextargets --format '$(REPO_URI)' | grep -m 1 'debian/$')
key=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$key] $from trixie main" > "$made/list"
own=(-qq -o "Dir::Etc::SourceList=$made/list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$made/lists"
  -o "Dir::Cache=$made/cache" -o APT::Sandbox::User=)
apt-get "${own[@]}" update
cd "$made"
apt-get "${own[@]}" download docker-compose podman
for package in ./*.deb; do dpkg --extract "$package" "$to"; done
