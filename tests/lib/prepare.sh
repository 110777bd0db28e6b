# Makes each client ready, once per change of its sources. Sourced by tests/run after cache.sh.
#
# Each prepare_X returns 0 when the client can be used, 2 when its runtime is missing (the caller decides what that means),
# and anything else when the preparation failed.

# stamped NAME FILE... -- COMMAND...: runs COMMAND unless it succeeded before with the same contents of the FILEs.
stamped() {
    local name=$1 files=() want
    shift
    while [ "$1" != -- ]; do files+=("$1"); shift; done
    shift
    want=$(cat "${files[@]}" | sha256sum)
    [ "$(cat "$cache/$name.stamp" 2>/dev/null)" = "$want" ] && return 0
    "$@" </dev/null || return 1
    printf '%s\n' "$want" >"$cache/$name.stamp"
}

venv() {
    local folder=$cache/$1 list=$2
    python3 -m venv --clear "$folder" && "$folder/bin/pip" install --quiet --disable-pip-version-check -r "$list"
}

prepare_python() {
    command -v python3 >/dev/null || return 2
    local lists=$repo/tests/clients/python
    stamped venv-current "$lists/requirements-current.txt" -- venv venv-current "$lists/requirements-current.txt" &&
        stamped venv-old "$lists/requirements-old.txt" -- venv venv-old "$lists/requirements-old.txt"
}

prepare_kcat() {
    command -v kcat >/dev/null && return 0
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 2
    { apt-get install -y -q kcat || { apt-get update -q && apt-get install -y -q kcat; }; } </dev/null >&2
}

npm_install() {
    mkdir -p "$cache/kafkajs" && cp "$repo/tests/clients/kafkajs/package.json" "$cache/kafkajs/" &&
        npm install --prefix "$cache/kafkajs" --no-audit --no-fund --ignore-scripts --loglevel=error
}

prepare_kafkajs() {
    command -v node >/dev/null && command -v npm >/dev/null || return 2
    stamped kafkajs "$repo/tests/clients/kafkajs/package.json" -- npm_install
}

build_rdkafka() {
    (cd "$repo/tests/clients/rdkafka" && CARGO_TARGET_DIR=$cache/rdkafka/target cargo build --release --locked --quiet) &&
        cp "$cache/rdkafka/target/release/rdkafka-suite" "$cache/rdkafka/"
}

prepare_rdkafka() {
    command -v cmake >/dev/null || command -v make >/dev/null || return 2
    stamped rdkafka "$repo"/tests/clients/rdkafka/{Cargo.toml,Cargo.lock,src/*.rs} -- build_rdkafka
}

build_go() { (cd "$repo/tests/clients/go" && go build -o "$cache/go-driver" .); }

prepare_go() {
    command -v go >/dev/null || return 2
    stamped go "$repo"/tests/clients/go/* -- build_go
}

build_java() {
    mkdir -p "$cache/java-driver" &&
        javac -cp "$cache/kafka-4.3.1/libs/*" -d "$cache/java-driver" "$repo"/tests/clients/java/*.java
}

prepare_java() {
    command -v javac >/dev/null && command -v mvn >/dev/null || return 2
    kafka_libs 4.3.1 >/dev/null && kafka_libs 2.8.0 >/dev/null && kafka_libs 3.7.2 >/dev/null &&
        stamped java "$repo"/tests/clients/java/*.java -- build_java
}

fetch_ecosystem() {
    local folder=$cache/ecosystem-4.3.1
    rm -rf "$folder/libs"
    mvn -B -q -f "$repo/tests/java/ecosystem-4.3.1.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        -DoutputDirectory="$folder/libs" -DincludeScope=runtime \
        -DincludeArtifactIds=kafka-streams,rocksdbjni,connect-file,connect-mirror,connect-mirror-client </dev/null >&2
}

build_ecosystem() {
    local folder=$cache/ecosystem-4.3.1
    mkdir -p "$folder/classes" &&
        javac -cp "$cache/kafka-4.3.1/libs/*:$folder/libs/*" -d "$folder/classes" "$repo"/tests/ecosystem/*.java
}

# Needs prepare_java: what the broker's distribution has already is not fetched again.
prepare_ecosystem() {
    stamped ecosystem "$repo"/tests/java/ecosystem-4.3.1.xml -- fetch_ecosystem &&
        stamped ecosystem-apps "$repo"/tests/ecosystem/*.java -- build_ecosystem
}

archive_classes() { "$cache/venv-current/bin/python" "$repo/tests/lib/archive_classes.py" "$1"; }

# Makes Apache's tools start faster (tests/harness/jvm.py). Needs prepare_java and the broker.
prepare_archives() {
    local version
    for version in 2.8.0 4.3.1; do
        # An archive is for this JVM and these very files.
        stamped "classes-$version" "$repo/tests/lib/archive_classes.py" <(java -version 2>&1; ls -ln --time-style=+%s "$cache/kafka-$version/libs") -- archive_classes $version
    done
}
