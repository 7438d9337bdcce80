#!/bin/sh
# Our engine and JAX side by side, one after the other in every round, so that a slow spell of the
# machine hits both: benches/peers/jax.sh PREFIX [ROUNDS] writes PREFIX-1.jsonl (one thread each) and
# PREFIX-2.jsonl (two). JAX_PY names a python with jax (see ../shared/peers/README.md), PEERS the
# folder of peer_jax.py.
set -eu
prefix=$(realpath "$1")
rounds=${2:-3}
peers=${PEERS:-../shared/peers}
ours=$(cargo bench --bench har_cnn --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*har_cnn[^"]*\)".*/\1/p')

# side_by_side THREADS OUR_WORK JAX_WORK [T REPEAT]
side_by_side() {
    results=$prefix-$1.jsonl
    # JAX takes all cores that it may use, whatever its flags say.
    on=$([ "$1" = 1 ] && echo 'taskset -c 0' || echo env)
    $on "$ours" --device "cpu:$1" --work "$2" --T "${4:-20}" --repeat "${5:-5}" --round "$round" --json "$results"
    (cd "$peers" && PYTHONDONTWRITEBYTECODE=1 $on "$JAX_PY" peer_jax.py --convs conv --modes hvp \
        --work "$3" --T "${4:-20}" --round "$round" --out "$results")
}

for round in $(seq "$rounds"); do
    for threads in 1 2; do
        side_by_side "$threads" w1,w3 w1,w3
        side_by_side "$threads" w2 w2loop 20 3
        side_by_side "$threads" w2 w2loop 200 1
    done
done
