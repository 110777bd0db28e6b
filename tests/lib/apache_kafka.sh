#!/usr/bin/env bash
# One Apache Kafka 4.3.1 node on loopback: broker and controller in one process, data under DIR.
#
#   apache_kafka.sh start PORT DIR [key=value]...   formats DIR if needed, starts, waits until it accepts connections
#   apache_kafka.sh stop DIR                        asks it to stop and waits
#
# The controller listens on the port after PORT. KAFKA_JVM replaces the options of the virtual machine: the defaults suit
# tests, bench/run asks for what Apache's own start script gives.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/cache.sh"
version=4.3.1

start() {
    local port=$1 dir=$2
    shift 2
    mkdir -p "$dir"
    local properties=$dir/server.properties
    {
        echo "process.roles=broker,controller"
        echo "node.id=1"
        echo "controller.quorum.voters=1@127.0.0.1:$((port + 1))"
        echo "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))"
        echo "advertised.listeners=PLAINTEXT://127.0.0.1:$port"
        echo "controller.listener.names=CONTROLLER"
        echo "log.dirs=$dir/data"
        echo "offsets.topic.replication.factor=1"
        echo "offsets.topic.num.partitions=${KAFKA_OFFSETS_PARTITIONS:-1}"
        echo "transaction.state.log.replication.factor=1"
        echo "transaction.state.log.min.isr=1"
        echo "transaction.state.log.num.partitions=1"
        echo "share.coordinator.state.topic.replication.factor=1"
        echo "share.coordinator.state.topic.min.isr=1"
        for setting in "$@"; do echo "$setting"; done
    } >"$properties"
    if [ ! -e "$dir/data/meta.properties" ]; then
        (kafka_java $version kafka.tools.StorageTool format -t "$(cluster_id)" -c "$properties" --ignore-formatted) >"$dir/format.log" 2>&1 ||
            { cat "$dir/format.log" >&2; return 1; }
    fi
    KAFKA_HEAP=${KAFKA_HEAP:-384m} setsid bash -c '
        source "$1"; shift; kafka_java "$@"' _ "$repo/tests/lib/cache.sh" $version -Dmilena.log.level=INFO kafka.Kafka "$properties" \
        >"$dir/broker.log" 2>&1 </dev/null &
    local pid=$!
    echo $pid >"$dir/pid"
    for _ in $(seq 600); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && grep -q 'Kafka Server started' "$dir/broker.log"; then
            return 0
        fi
        kill -0 "$pid" 2>/dev/null || { tail -n 20 "$dir/broker.log" >&2; return 1; }
        sleep 0.1
    done
    echo "Apache Kafka did not start within 60 s, see $dir/broker.log" >&2
    return 1
}

cluster_id() { printf 'bWlsZW5hLXRlc3RzLWlkMQ\n'; }

stop() {
    local dir=$1 pid
    pid=$(cat "$dir/pid")
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 300); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$pid"
}

case ${1:-} in
start | stop) "$@" ;;
*) sed -n '2,8p' "$0" >&2; exit 2 ;;
esac
