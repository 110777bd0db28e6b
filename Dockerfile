# One small image: the broker and Kafka's tools are links to one binary, beside bash and busybox. See docs/docker.md.
#
#   docker build -t milena .
#   docker run -p 9092:9092 milena
#
# A binary at prebuilt/milena, for this machine's C library or an older one, saves the compilation.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /milena
COPY . .
RUN if [ -x prebuilt/milena ]; then \
        mkdir -p target/release && cp prebuilt/milena target/release/milena; \
    else \
        apt-get update -q && \
        apt-get install -y -q --no-install-recommends build-essential && \
        cargo build --release --locked -p milena-cli; \
    fi

# The file system of the image, put together from Debian's files: no package manager, nothing that only it needs.
FROM debian:bookworm-slim AS files
COPY --from=build /milena/target/release/milena /image/opt/kafka/bin/milena
COPY deploy/image-files.sh /
RUN apt-get update -q && apt-get install -y -q --no-install-recommends busybox-static ca-certificates && \
    sh -eu /image-files.sh /image

FROM scratch
COPY --from=files /image /
ENV PATH=/opt/kafka/bin:/bin
WORKDIR /opt/kafka
# Group 0 may write wherever the user may, so that any user id will do (OpenShift, bitnami's 1001).
USER 1000:0
VOLUME ["/var/lib/kafka/data", "/etc/kafka/secrets", "/mnt/shared/config"]
# Clients, other brokers, /livez /readyz /metrics.
EXPOSE 9092 9093 9644
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=3s --timeout=5s --start-period=60s --retries=3 CMD ["/opt/kafka/bin/milena", "health", "--ready", "--quiet"]
CMD ["/etc/kafka/docker/run"]
