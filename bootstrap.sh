#!/bin/sh
# Make a virtual environment with everything the project's verbs need: `make` calls this, you need not.
#
#   sh bootstrap.sh [VENV]            (default .venv)
#
# What the system lacks (a compiler, headers) is installed when this is root on a Debian or Ubuntu;
# otherwise the one line to type is printed and the exit status is 1. Nothing is done twice: the
# environment remembers which requirements it was made from.
set -eu
cd "$(dirname "$0")"
venv=${1:-.venv}
stamp=$venv/.requirements

say() { printf '\033[2m--\033[0m %s\n' "$*" >&2; }
[ -t 2 ] || say() { printf -- '-- %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# ---- what pyproject.toml asks for: one requirement per line, our own extras expanded ----
requirements() {
    python3 - <<'PY'
import re, tomllib

with open("pyproject.toml", "rb") as file:
    data = tomllib.load(file)
project = data["project"]
extras = project["optional-dependencies"]
own = re.compile(re.escape(project["name"]) + r"\[(.+)\]")


def expand(lines):
    for line in lines:
        if match := own.fullmatch(line):
            for extra in match[1].split(","):
                yield from expand(extras[extra.strip()])
        else:
            yield line


wanted = [*data["build-system"]["requires"], *project["dependencies"], *expand(["%s[dev]" % project["name"]])]
print("\n".join(sorted(set(wanted))))
PY
}

command -v python3 >/dev/null 2>&1 || missing_python=yes
if [ -z "${missing_python:-}" ]; then
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail \
        "Python 3.11 or newer is needed, and python3 is $(python3 -V 2>&1 | cut -d' ' -f2); put a newer one first on PATH"
    wanted=$(requirements)
    [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && [ "$wanted" = "$(cat "$stamp")" ] && exit 0
fi

# ---- the system's part ----
lacks=
lack() { lacks="$lacks $1"; }
includes() { echo "#include <$1>" | cc ${2:+"-I$2"} -E - >/dev/null 2>&1; }
if [ -n "${missing_python:-}" ]; then
    lack python3; lack python3-venv; lack python3-dev
else
    python3 -c 'import ensurepip' >/dev/null 2>&1 || lack python3-venv
    python3 -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' || lack python3-dev
fi
if command -v cc >/dev/null 2>&1; then
    includes stdlib.h || lack libc6-dev
    includes openssl/evp.h || lack libssl-dev
else
    lack gcc; lack libc6-dev; lack libssl-dev
fi
lacks=${lacks# }
if [ -n "$lacks" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        fail "please install: a C compiler, the headers of Python 3 and of OpenSSL, and Python's venv module (on Debian: $lacks), then run make again"
    elif [ "$(id -u)" != 0 ]; then
        fail "the system lacks $lacks. Type this, then run make again:
    sudo apt-get update && sudo apt-get install -y $lacks"
    fi
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    export DEBIAN_FRONTEND=noninteractive
    say "reading the list of system packages"
    apt-get update -qq >"$log" 2>&1 || { cat "$log" >&2; fail "apt-get update failed (see above); check the network, then run make again"; }
    for package in $lacks; do
        say "installing $package"
        apt-get install -y -qq --no-install-recommends "$package" >"$log" 2>&1 || {
            tail -n 20 "$log" >&2
            fail "apt-get could not install $package (see above); mend that, then run make again"
        }
    done
    [ -n "${wanted:-}" ] || wanted=$(requirements)
fi

# ---- Python's part ----
if [ ! -x "$venv/bin/python" ]; then
    say "creating $venv with $(python3 -V)"
    python3 -m venv "$venv" || fail "python3 -m venv $venv failed (see above); remove $venv and run make again"
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
say "installing Python packages into $venv (about a minute the first time)"
"$venv/bin/python" -m pip install --quiet --upgrade pip || fail "pip could not reach a package index; check the network, then run make again"
printf '%s\n' "$wanted" >"$venv/requirements.txt"
"$venv/bin/python" -m pip install --quiet -r "$venv/requirements.txt" || fail "pip could not install what pyproject.toml asks for (see above)"
printf '%s\n' "$wanted" >"$stamp"
