#!/bin/sh
# Has Apache's own kafka-dump-log read every file of partitions written by Milena.
#
#   tests/java/dump_log.sh DIR LIBS
#
# DIR is a data directory or a partition's directory, LIBS the directory of Kafka's jars (kafka_2.13 and
# kafka-tools with what they need). Fails if the tool finds a mismatch in an index, a batch with a wrong
# checksum, or a file that it cannot read; the tool itself ends with 0 in all these cases.
set -eu

dir=${1:?usage: dump_log.sh DIR LIBS}
libs=${2:?usage: dump_log.sh DIR LIBS}

files=$(find "$dir" \( -name '*.log' -o -name '*.index' -o -name '*.timeindex' -o -name '*.txnindex' -o -name '*.snapshot' \) \
    | sort | paste -s -d, -)
[ -n "$files" ] || { echo "dump_log: no log files in $dir" >&2; exit 1; }

out=$(mktemp)
trap 'rm -f "$out"' EXIT
java -cp "$libs/*" org.apache.kafka.tools.DumpLogSegments --deep-iteration --files "$files" > "$out" 2>&1 || {
    cat "$out" >&2
    exit 1
}
# What the tool prints about files that do not fit: mismatches, times out of order, offsets missing between
# records, batches that are not valid, and its own exceptions. "-1 is followed by" is its remark on the first
# record of every segment that does not begin at 0, Kafka's own included.
complaints='isvalid: false|ismatch|out of order|not found|Found invalid|Exception|[0-9] is followed by|corrupt'
if grep -vE '^ *-1 is followed by' "$out" | grep -nE "$complaints" >&2; then
    echo "dump_log: kafka-dump-log complains about $dir" >&2
    exit 1
fi
batches=$(grep -c '^baseOffset:' "$out" || true)
[ "$batches" -gt 0 ] || { cat "$out" >&2; echo "dump_log: no batch was read" >&2; exit 1; }
echo "dump_log: $(echo "$files" | tr ',' '\n' | wc -l) files, $batches batches, nothing to complain about"
