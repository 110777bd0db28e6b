#!/bin/sh
# Lays out the image under $1, where opt/kafka/bin/milena is already; runs in a Debian container (Dockerfile).
set -eu
image=$1
user=1000

mkdir -p "$image"/bin "$image"/etc "$image"/home "$image"/usr/bin "$image"/tmp
chmod 1777 "$image"/tmp

# Programs: the binary's libraries, bash for the scripts that Testcontainers and others bring along, busybox for the rest.
cp /bin/bash /bin/busybox "$image"/bin/
for applet in $(busybox --list); do
    [ -e "$image/bin/$applet" ] || ln -s busybox "$image/bin/$applet"
done
ln -s /bin/env "$image"/usr/bin/env
ln -s /bin/bash "$image"/usr/bin/bash
for program in "$image"/opt/kafka/bin/milena "$image"/bin/bash; do
    ldd "$program" | grep -oE '/[^ ]+' | while read -r library; do
        mkdir -p "$image$(dirname "$library")"
        cp -L "$library" "$image$library"
    done
done
mkdir -p "$image"/etc/ssl/certs
cp /etc/ssl/certs/ca-certificates.crt "$image"/etc/ssl/certs/
echo 'hosts: files dns' >"$image"/etc/nsswitch.conf
printf 'root:x:0:0:root:/root:/bin/bash\nappuser:x:%s:0:Kafka:/home/appuser:/bin/bash\n' $user >"$image"/etc/passwd
printf 'root:x:0:\nappuser:x:%s:\n' $user >"$image"/etc/group

# Kafka's tools and start scripts.
cd "$image"/opt/kafka/bin
for tool in $(./milena --help | grep -oE '^ +kafka-[a-z-]+$'); do
    ln -s milena "$tool.sh"
    ln -s milena "$tool"
done
mkdir -p "$image"/etc/kafka/docker "$image"/etc/confluent/docker
ln -s /opt/kafka/bin/milena "$image"/etc/kafka/docker/run
ln -s /opt/kafka/bin/milena "$image"/etc/confluent/docker/run
ln -s /opt/kafka/bin/milena "$image"/bin/milena

# Directories that are written to, by the user or by anybody of group 0. bitnami's volume holds a directory `data`.
for directory in var/lib/kafka/data etc/kafka/secrets mnt/shared/config bitnami/kafka opt/kafka/config opt/kafka/logs home/appuser; do
    mkdir -p "$image/$directory"
done
for directory in var/lib/kafka etc/kafka mnt/shared bitnami opt/kafka home/appuser; do
    chown -R $user:0 "$image/$directory"
    chmod -R g=u "$image/$directory"
done
