#!/bin/sh
# Ours beside PyTorch and its libraries for hypergradients, one process after the other on one thread, in turns:
# benches/peers/libraries.sh FILE [ROUNDS] adds JSON lines to FILE and prints tables of them. TORCH_PY names a python with
# torch, torchopt, higher and hypergrad (pip install torch==2.15.0 torchopt==0.7.3 higher==0.2.1 hypergrad==0.0.1).
set -eu
results=$(realpath "$1")
rounds=${2:-3}
export PYTHONDONTWRITEBYTECODE=1
built() {
    cargo bench --bench "$1" --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*'"$1"'[^"]*\)".*/\1/p'
}
har=$(built har_cnn)
logistic=$(built logistic)
data=$(mktemp -d)
trap 'rm -r "$data"' EXIT
"$logistic" --export "$data"

# What was given back before a run is not kept, so that its peak is its own.
ours() {
    MALLOC_MMAP_THRESHOLD_=65536 "$@" --json "$results"
}

library() {
    "$TORCH_PY" benches/peers/libraries.py --out "$results" --data "$data" "$@"
}

for _ in $(seq "$rounds"); do
    ours "$har" --device cpu:1 --work w2 --T 20 --repeat 3
    for by in torch higher torchopt; do library --problem har --by $by; done
    for method in keeping reverse revolve; do ours "$logistic" --method $method; done
    for by in torch higher torchopt; do library --problem logistic --by $by; done
    ours "$logistic" --method implicit
    for by in torch-cg torchopt-cg hypergrad-cg; do library --problem logistic --by $by; done
done
library --table "$results"
