# An ordinary day with an engine: each command, what it answers, and its exit code. `E` is the engine, with all that it needs
# to be asked here. The test runs it with runc and with `ebb oci`, and compares.
t() {
    echo "## $*"
    "$@" 2>&1 </dev/null
    echo "-> $?"
}
E import "$TAR" box >/dev/null
run="E run --network none --rm"
loop='trap "echo term; exit 3" TERM; echo up; while :; do sleep 0.05; done'
t $run box echo hello
t $run box sh -c 'exit 7'
t $run box /nosuch
t $run -u 1000:1000 box id
t $run -t box sh -c 'tty; test -c /dev/console'
t $run --init box sh -c 'cut -d" " -f2 /proc/1/stat'
t $run --read-only --cap-drop all --security-opt no-new-privileges box sh -c 'exec 2>&1; grep -E "Cap|NoNew|Seccomp:" /proc/self/status; touch /x'
t $run --tmpfs /t --hostname h -w /tmp -e A=1 box sh -c 'hostname; pwd; echo $A; mount | grep -c " /t "'
[ -z "$LIMITS" ] || t $run --memory 64m --pids-limit 50 --memory-swappiness 10 box sh -c \
    'exec 2>&1; cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.swappiness pids/pids.max memory.max pids.max'
t E run -d --name c1 --network none box sh -c "$loop" >/dev/null
t E exec c1 echo in
t E exec c1 sh -c 'exit 9'
t E exec c1 /nosuch
t E exec -t -u 1000 -w /tmp -e B=2 c1 sh -c 'tty; id -u; pwd; echo $B'
t E run --rm --network container:c1 --pid container:c1 box sh -c 'cut -d" " -f2 /proc/1/stat'
t E pause c1
t E ps -a --format '{{.Names}}'
t E unpause c1
[ -z "$LIMITS" ] || t E update --memory 128m --memory-swap 128m c1
t E kill --signal KILL c1
t E wait c1
t E rm c1
t E run -d --name c2 --network none box sh -c "$loop" >/dev/null
for _ in $(seq 100); do E logs c2 | grep -q up && break; done
t E stop c2
t E logs c2
t E inspect -f '{{.State.Status}} {{.State.ExitCode}}' c2
t E start c2
t E kill c2
t E rm -f c2
