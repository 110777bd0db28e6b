# Where downloads live, and how each is fetched once. Sourced by tests/run, bench/run and apache_kafka.sh.
#
# MILENA_TEST_CACHE moves the cache; by default it is .cache/ in the repository, which git ignores.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${MILENA_TEST_CACHE:-$repo/.cache}
mkdir -p "$cache"

# kafka_libs VERSION: prints the folder of jars of that Apache Kafka, fetching them from Maven Central when missing.
kafka_libs() {
    local version=$1 target=$cache/kafka-$1/libs
    if [ ! -e "$cache/kafka-$version/complete" ]; then
        rm -rf "$target"
        mvn -B -q -f "$repo/tests/java/kafka-$version.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
            -DoutputDirectory="$target" -DincludeScope=runtime </dev/null >&2 || return 1
        touch "$cache/kafka-$version/complete"
    fi
    printf '%s\n' "$target"
}

# kafka_java VERSION CLASS ARGUMENT...: runs one of Apache's classes; KAFKA_JVM replaces the options that keep it small.
kafka_java() {
    local version=$1 libs
    shift
    libs=$(kafka_libs "$version") || return 1
    exec java ${KAFKA_JVM:--Xmx${KAFKA_HEAP:-256m} -XX:+UseSerialGC -XX:TieredStopAtLevel=1} \
        -Dlog4j2.configurationFile="$repo/tests/java/log4j2.xml" -Dlog4j.configuration="file:$repo/tests/java/log4j.properties" \
        -Dlog4j.configurationFile="$repo/tests/java/log4j2.xml" -cp "$libs/*" "$@"
}
