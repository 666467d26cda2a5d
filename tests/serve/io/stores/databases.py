"""Real stores: SQLite files, and a PostgreSQL server of our own on loopback that can be stopped and started."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.serve.io.stores import StoreAddress

PASSWORD = "not-the-default-1"


def tools() -> Path | None:
    """The folder of PostgreSQL's programs: Debian keeps `initdb` and `pg_ctl` off the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    found = debian[-1] if debian else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def missing() -> str:
    """Why there can be no PostgreSQL server here; "" where there can."""
    if tools() is None:
        return "no PostgreSQL server is installed (Debian: postgresql)"
    return "" if os.getuid() != 0 or _stranger() else "PostgreSQL does not run as root, and there is no user `postgres`"


def _stranger() -> str | None:
    """The user that the server runs as where we are root: PostgreSQL refuses to be."""
    try:
        return pwd.getpwnam("postgres").pw_name if os.getuid() == 0 else None
    except KeyError:
        return None


class PostgresServer:
    """One server. `database()` makes an empty database in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tools = tools()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def set_up(self) -> None:
        (self._folder / "password").write_text(PASSWORD)
        if (user := _stranger()) is not None:
            for path in (self._folder, self._folder / "password"):
                shutil.chown(path, user)
        self._run("initdb", "-D", "db", "-U", "penstock", "-A", "scram-sha-256", "--pwfile=password", "-E", "UTF8")

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self._folder} -c fsync=off -c max_connections=40"
        self._run("pg_ctl", "-D", "db", "-w", "-t", "60", "-l", "log", "-o", options, "start")

    def stop(self) -> None:
        """At once, as a crash would."""
        self._run("pg_ctl", "-D", "db", "-w", "-m", "immediate", "stop")

    def database(self) -> str:
        """URL of a new database."""
        name = f"p{uuid.uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name}")
        return f"postgresql://penstock@127.0.0.1:{self.port}/{name}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "penstock", "-d", database]
        return self._run("psql", *address, "-Atqc", statement)

    def _run(self, program: str, *words: str) -> str:
        assert self._tools is not None
        env = {"PATH": os.environ["PATH"], "PGPASSWORD": PASSWORD, "LC_ALL": "C"}
        with tempfile.TemporaryFile() as out:  # a pipe would be held open by the server
            done = subprocess.run(
                [str(self._tools / program), *words],
                cwd=self._folder,
                env=env,
                user=_stranger(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                timeout=90,
                check=False,
            )
            out.seek(0)
            text = out.read().decode(errors="replace")
        assert done.returncode == 0, f"{program}: {text}"
        return text.strip()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server, gone at the end with all it held."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-pg-"))
    server = PostgresServer(folder)
    try:
        server.set_up()
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def address(url: str, folder: Path, *, is_asked: bool = True, password: str = PASSWORD) -> StoreAddress:
    return StoreAddress(url=url, folder=folder, is_asked=is_asked, password=lambda: password)
