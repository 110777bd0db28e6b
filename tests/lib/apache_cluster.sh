#!/usr/bin/env bash
# Three Apache Kafka 4.3.1 nodes on loopback, each broker and controller, to be compared with in drills:
#
#   apache_cluster.sh start DIR [PORT]   node 1 listens on PORT (default 19092), node 2 on PORT+2, node 3 on PORT+4
#   apache_cluster.sh node DIR ID        starts one node again (what a drill's --start-command wants)
#   apache_cluster.sh stop DIR
#
# The process id of node N is in DIR/N/pid. SETTINGS adds lines to every node's properties, separated by blanks;
# KAFKA_HEAP is the heap of each (default 384m).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

node() {
    local dir=$1 id=$2 port voters=""
    port=$(cat "$dir/port")
    for it in 1 2 3; do voters+="${voters:+,}$it@127.0.0.1:$((port + 2 * it - 1))"; done
    local own=$((port + 2 * (id - 1)))
    # Later lines of a properties file win.
    # shellcheck disable=SC2086
    "$here/apache_kafka.sh" start "$own" "$dir/$id" "node.id=$id" "controller.quorum.voters=$voters" \
        offsets.topic.replication.factor=3 transaction.state.log.replication.factor=3 transaction.state.log.min.isr=2 \
        share.coordinator.state.topic.replication.factor=3 default.replication.factor=3 min.insync.replicas=2 \
        group.initial.rebalance.delay.ms=0 ${SETTINGS:-}
}

start() {
    local dir=$1
    mkdir -p "$dir"
    echo "${2:-19092}" >"$dir/port"
    local pids=() pid
    for id in 1 2 3; do node "$dir" $id & pids+=($!); done
    for pid in "${pids[@]}"; do wait "$pid"; done
}

stop() {
    for id in 1 2 3; do
        [ -e "$1/$id/pid" ] && kill -9 "$(cat "$1/$id/pid")" 2>/dev/null
    done
    true
}

case ${1:-} in
start | node | stop) "$@" ;;
*) sed -n '2,9p' "$0" >&2; exit 2 ;;
esac
