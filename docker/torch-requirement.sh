#!/bin/sh
# Prints the pip requirement for torch: torch-requirement.sh PYTHON [cpu|cuda]
#
# cpu: the newest build marked +cpu that this pip can see, so that no CUDA libraries come along;
# where there is none, the ordinary release. cuda: the ordinary release.
# Without a second word: cuda where an NVIDIA GPU answers, else cpu.
set -eu

python=$1
variant=${2:-}
release='torch>=2.6'

if [ -z "$variant" ]; then
    variant=cpu
    if nvidia-smi >/dev/null 2>&1; then variant=cuda; fi
fi

case "$variant" in
cuda)
    echo "$release"
    ;;
cpu)
    builds=$("$python" -m pip index versions torch 2>/dev/null) || builds=
    newest=$(echo "$builds" | tr -s ', ()' '\n' | grep -E '^[0-9.]+\+cpu$' | head -n 1) || newest=
    if [ -n "$newest" ]; then
        echo "torch==$newest"
    else
        if [ "$(uname -s)" = Linux ]; then
            echo "note: pip offers no CPU build of torch; the one it has for Linux may bring" \
                "about 3 GB of CUDA" >&2
        fi
        echo "$release"
    fi
    ;;
*)
    echo "torch-requirement.sh: no variant '$variant'; use cpu or cuda" >&2
    exit 2
    ;;
esac
