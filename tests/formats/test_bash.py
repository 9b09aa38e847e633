"""A script is read as bash runs it: what a launch gets is what the real bash gives it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.formats.reading import read

RECORDER = """#!{python}
import json, os, sys
with open({log!r}, "a") as log:
    log.write(json.dumps([sys.argv[2:], dict(os.environ)]) + "\\n")
"""
SCRIPTS = {
    "array over lines": 'A=(\n --tp-size 8  # eight\n --x "a b"\n)\nsglang serve "${A[@]}"',
    "array that grows": 'A=(--tp 8)\nA+=(--port 8001)\nA+=("--y" z)\nsglang serve "${A[@]}" end',
    "array unquoted": "A=('a b' c)\nsglang serve ${A[@]} ${A[*]}",
    "array joined": 'A=(a b)\nsglang serve "${A[*]}" x${A[1]} ${#A[@]} ${A}',
    "empty array": 'A=()\nsglang serve "${A[@]}" --x "" "$EMPTY_HERE"'.replace("$EMPTY_HERE", ""),
    "string that grows": 'ARGS="--tp 8"\nARGS+=" --bogus 1"\nARGS="$ARGS --z"\nsglang serve $ARGS "$ARGS"',
    "defaults": 'P=8000\nE=\nsglang serve ${P:-1} "${E:-2 3}" ${E-4} ${P:+yes} ${E:+no} x${E}y',
    "defaults in quotes": """C=${C:-'{"a": 3, "m": "f"}'}\nD=${D:-"a b"}\nF=${F:-a b}\nX="1 2"\nsglang serve "$C" "$D" $D "$F" $F ${G:-'x y'} ${H:-"p q" r} ${I:-$X} "${J:-$X}" ${K:-"$X"} ${L:-a$X'b c'} ${X:+"y z" w}""",
    "default given once": ': ${P_HERE:=a b}\nsglang serve "$P_HERE" $P_HERE',
    "assigned default": ": ${PORT_HERE:=8000}\nsglang serve --port $PORT_HERE",
    "trimmed": "N=pod-12.svc\nsglang serve ${N##*-} ${N%.*} ${N#pod-} ${N%%.svc} ${N/pod/x} ${#N}",
    "arithmetic": "A=7\nsglang serve $((A+1)) $(( (A * 2) % 5 )) $((A/2)) $((-A)) $((-7/2)) $((-7%3))",
    "exported": "export A=1 B='x y'\nC=3\nexport C\nD=4\nsglang serve",
    "all exported": "set -a\nA=1\nset +a\nB=2\nsglang serve",
    "prefix": 'A=1 B="x $((1+1))" sglang serve',
    "env": "env A=1 B=2 sglang serve",
    "function": 'run() {\n  local rank=$1; shift\n  sglang serve --node-rank $rank "$@"\n}\nfor i in 0 1; do run $i --tp "$((i+8))"; done',
    "arguments of a function": 'f() { sglang serve "$#" "$2" $*; }\nf "a b" c',
    "continued": "sglang serve \\\n  --a 1 \\\n  --b '2 \\\n3'",
    "quotes": r"""sglang serve 'it'\''s' "say \"x\" \$HOME \n" $'a\tb' a\ b "x"'y'z --json='{"a": true}'""",
    "nested shell": 'M="a b"\nbash -c "exec sglang serve --model \\"$M\\" --x"',
    "nested single": "export M=m\nbash -c 'sglang serve --model \"$M\" $0 $1' zero one".replace(
        " $0 $1' zero one", "'"
    ),
    "eval": 'CMD="sglang serve --x \'a b\'"\neval "$CMD"\n$CMD',
    "function in eval": 'serve() { sglang serve --rank "$1"; }\neval "serve 3"\neval "late() { sglang serve --late \\$1; }"\nlate 4',
    "heredoc": "cat > env.sh <<EOF\nexport B=$((1+1))\nEOF\nsource ./env.sh\nsglang serve --b $B",
    "heredoc to bash": "bash <<'EOF'\nX=5\nsglang serve --x $X\nEOF",
    "subshell": "A=1\n(A=2; sglang serve $A)\nsglang serve $A",
    "background": "sglang serve --a & sglang serve --b; wait",
    "redirected": "sglang serve --a > log 2>&1 < /dev/null",
    "redirected on lines of their own": "".join(
        f"sglang serve --a \\\n  {to}\n"
        for to in ("> l", ">l 2>&1", ">> l 2>&1 < /dev/null", "2> l", "&> l", ">| l", "< /dev/null")
    ),
    "redirected in a shell within": "bash -c 'sglang serve --a \\\n  --b 1 \\\n  > l 2>&1'",
    "redirected to a process": "sglang serve --a \\\n  > >(cat > l) 2>&1\nwait",
    "piped on lines of their own": "sglang serve --a 2>&1 \\\n  | cat > l\n",
    "echoed": 'echo "run: sglang serve --bogus 1"\nsglang serve --real',
    "and": "true && sglang serve --a || echo failed",
    "exec": "exec sglang serve --a 1",
    "unset": "A=1\nexport A\nunset A\nsglang serve x${A}y",
    "readonly": "readonly A=5\ndeclare -x B=6\ntypeset C=7\nsglang serve $A $B $C",
    "case folded": "N=Abc\nsglang serve ${N^^} ${N,,}",
    "braces": "sglang serve a{b,c}d --z={1,2} {1..3} {c..a} {x} {a,} {,} a{1,{2,3}}b {a,b}{c,d} {} x{',',y}",
    "braces in quotes": """sglang serve "{a,b}" '{a,b}' \\{a,b} {a\\,b} "${V:-{a,b}}" {a,"b c"} {$((1+1)),3}""",
    "JSON that nobody quoted": """sglang serve --x {"a":1} --y {"a":1,"b":"c d"} --z='{"a":1,"b":2}' --w={"a":[1,2]}""",
    "braces in an array": 'A=(--{x,y} 1)\nfor i in {1..2}; do sglang serve "${A[@]}" $i; done',
    "comment": "sglang serve --a 1 # --b 2\n# sglang serve --c",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_is_read_is_what_bash_runs(name: str, tmp_path: Path) -> None:
    if not (bash := shutil.which("bash")):
        pytest.skip("there is no bash here")
    log = tmp_path / "log"
    recorder = tmp_path / "bin/sglang"
    recorder.parent.mkdir()
    recorder.write_text(RECORDER.format(python=sys.executable, log=str(log)))
    recorder.chmod(0o755)
    environ = {"PATH": f"{recorder.parent}:{os.environ['PATH']}"}
    script = SCRIPTS[name]
    subprocess.run(
        [bash, "-c", script], cwd=tmp_path, env=environ, check=True, timeout=60, capture_output=True
    )
    ran = [json.loads(line) for line in log.read_text().splitlines()]

    found = read(script).launches

    key = lambda words: json.dumps(words)
    assert sorted((list(one.words) for one in found), key=key) == sorted(
        (words for words, _ in ran), key=key
    )
    own = {"PATH", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE", *environ}
    wanted = [{name: value for name, value in env.items() if name not in own} for _, env in ran]
    assert sorted((one.env for one in found), key=key) == sorted(wanted, key=key)
