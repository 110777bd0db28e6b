"""A Docker engine to test with: the one that runs, or one started here; and the base images, pulled or made of Debian's packages.

Nothing here needs a registry: where none answers, debootstrap makes the images under the names that the Dockerfile uses.
"""

import atexit
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

REPO = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("MILENA_TEST_CACHE", REPO / ".cache"))
DEBIAN = "debian:bookworm-slim"
RUST = "rust:1.95-slim-bookworm"
START_PATIENCE = 60
PULL_PATIENCE = 120


class Missing(Exception):
    """There is no engine, and none can be installed here."""


class Impossible(Exception):
    """There is an engine, and this machine does not let it run."""


def sh(*command, check=True, **options):
    """Runs a command; its output, or an error with what it said."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done


def runs(*command):
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def install(*packages):
    """Debian's packages, where this is root on a Debian; whether they are there now."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    for before in (None, ["apt-get", "update", "-q"]):
        if before:
            sh(*before, check=False, env=environment)
        if sh(*command, check=False, env=environment).returncode == 0:
            return True
    return False


class Engine:
    """A running engine. `docker` and `compose` run its commands."""

    def __init__(self):
        if not shutil.which("docker") and not install("docker.io"):
            raise Missing("docker is not installed (Debian: apt-get install docker.io)")
        self.is_ours = not runs("docker", "info")
        if self.is_ours:
            self._start()
        self.compose_command = self._find_compose()
        self.made = []

    def docker(self, *arguments, **options):
        return sh("docker", *arguments, **options).stdout.strip()

    def compose(self, *arguments, **options):
        return sh(*self.compose_command, *arguments, **options).stdout.strip()

    def inspect(self, what, template):
        return json.loads(self.docker("inspect", "--format", "{{json " + template + "}}", what))

    def _start(self):
        if not shutil.which("dockerd") and not install("docker.io"):
            raise Missing("no Docker engine runs, and none is installed (Debian: apt-get install docker.io)")
        if os.geteuid() != 0:
            raise Missing("no Docker engine runs, and only root can start one")
        # Short, as the path of a socket must be.
        run = pathlib.Path(tempfile.mkdtemp(prefix="milena-docker-"))
        data = CACHE / "docker"
        data.mkdir(parents=True, exist_ok=True)
        log = open(run / "log", "w")
        os.environ["DOCKER_HOST"] = f"unix://{run}/socket"
        command = ["dockerd", "--data-root", data, "--exec-root", run / "exec", "--pidfile", run / "pid", "--host", f"unix://{run}/socket"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        atexit.register(self._stop)
        deadline = time.monotonic() + START_PATIENCE
        while not runs("docker", "info"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                last = (run / "log").read_text().strip().splitlines()[-3:]
                raise Impossible("a Docker engine cannot run here: " + " | ".join(last))
            time.sleep(0.2)

    def _stop(self):
        self.process.terminate()
        self.process.wait(60)

    def _find_compose(self):
        candidates = (["docker", "compose"], ["docker-compose"])
        for attempt in range(2):
            for command in candidates:
                if runs(*command, "version"):
                    return command
            if attempt == 0 and not (install("docker-compose-v2") or install("docker-compose")):
                break
        raise Missing("docker compose is not installed (Debian: apt-get install docker-compose)")

    def has_image(self, name):
        return runs("docker", "image", "inspect", name)

    def provide_bases(self, prebuilt):
        """Makes the Dockerfile's two base images available; that of the compiler needs no compiler if the binary is `prebuilt`."""
        for name in (DEBIAN, RUST):
            if self.has_image(name) or self._pulls(name):
                continue
            if name == DEBIAN:
                self._debootstrap()
            elif prebuilt:
                self.docker("tag", DEBIAN, RUST)
                self.made.append(RUST)
            else:
                raise RuntimeError(f"{RUST} can be neither pulled nor made; set MILENA_BIN, or build target/release/milena")

    def _pulls(self, name):
        if self.is_ours and not os.environ.get("MILENA_TEST_PULL"):
            return False
        try:
            return sh("docker", "pull", "-q", name, check=False, timeout=PULL_PATIENCE).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def _debootstrap(self):
        if not shutil.which("debootstrap") and not install("debootstrap"):
            raise RuntimeError(f"{DEBIAN} cannot be pulled, and debootstrap is not there to make it")
        with tempfile.TemporaryDirectory(prefix="milena-base-", dir=CACHE) as root:
            sh("debootstrap", "--variant=minbase", "bookworm", root, "http://deb.debian.org/debian")
            pack = subprocess.Popen(
                ["tar", "-C", root, "--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*", "-c", "."],
                stdout=subprocess.PIPE,
            )
            imported = subprocess.run(["docker", "import", "-", DEBIAN], stdin=pack.stdout, capture_output=True, text=True)
            if pack.wait() != 0 or imported.returncode != 0:
                raise RuntimeError(f"{DEBIAN} could not be imported: {imported.stderr}")
        self.made.append(DEBIAN)

    def forget_bases(self):
        """Takes away names that stand for something else on other machines."""
        if not self.is_ours:
            for name in self.made:
                sh("docker", "rmi", "--no-prune", name, check=False)

    def build(self, binary):
        """Builds the image, with this binary or, if it is None, compiling one."""
        place = REPO / "prebuilt"
        if binary:
            # It stays until the end: `compose up --build` must find the same files, or it would compile after all.
            atexit.register(shutil.rmtree, place, ignore_errors=True)
            place.mkdir(exist_ok=True)
            shutil.copy2(binary, place / "milena")
        self.provide_bases(bool(binary))
        # The builder without plug-ins, which every release of Docker has. The machine's own network: a resolver on loopback
        # is not reached from another.
        os.environ["DOCKER_BUILDKIT"] = "0"
        self.docker("build", "--network", "host", "-t", "milena", str(REPO))
