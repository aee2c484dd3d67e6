"""The limit: how many one-row insert commits a second this PostgreSQL does, by its own pgbench."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from tests.benchmarks import usage

if TYPE_CHECKING:
    from tests.support.postgres import LocalPostgres

CLIENTS = (1, 16, 64, 256)
TABLE = "CREATE TABLE bench_commits (id bigserial PRIMARY KEY, data jsonb NOT NULL)"
SCRIPT = """INSERT INTO bench_commits (data) VALUES ('{"output": 1}');\n"""
_THREADS = 2


def measure(server: LocalPostgres, clients: int, seconds: float) -> dict[str, Any]:
    """Commits a second with so many clients, each of which waits for its own."""
    url = sa.make_url(server.create_database())
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(), autocommit=True) as connection:
        connection.execute(TABLE)
        connection.execute("CHECKPOINT")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(SCRIPT)
        script.flush()
        command = [_binary(server), "--no-vacuum", "--protocol=prepared", f"--file={script.name}"]
        command += [f"--client={clients}", f"--jobs={min(_THREADS, clients)}", f"--time={max(1, round(seconds))}"]
        command += ["--host=127.0.0.1", f"--port={url.port}", "--username=postgres", str(url.database)]
        before = usage.tree_cpu(server.pid)
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        server_cpu = usage.tree_cpu(server.pid) - before
    rate = re.search(r"^tps = ([\d.]+) \(without", answer.stdout, re.MULTILINE)
    latency = re.search(r"^latency average = ([\d.]+) ms", answer.stdout, re.MULTILINE)
    count = re.search(r"actually processed: (\d+)", answer.stdout)
    if rate is None or latency is None or count is None:
        raise RuntimeError(f"pgbench failed:\n{answer.stdout}\n{answer.stderr}")
    return {
        "clients": clients,
        "commits_per_second": float(rate[1]),
        "average_ms": float(latency[1]),
        "server_cpu_s_per_1000_commits": server_cpu / (int(count[1]) / 1000),
    }


def _binary(server: LocalPostgres) -> str:
    beside = Path(server.binaries) / "pgbench"
    return str(beside) if beside.is_file() else "pgbench"
