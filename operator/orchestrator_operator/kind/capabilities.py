"""Docker on a machine that withholds capabilities, as containers that stand for machines do.

`--privileged`, which kind needs, makes Docker ask runc for every capability that the kernel has. Where one is missing
from our bounding set, runc fails ("unable to apply caps: operation not permitted"). A wrapper in front of runc strikes
the missing ones out of what it is asked for.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# In the order of their bits: include/uapi/linux/capability.h.
_NAMES = (
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
)


def missing(status: str) -> list[str]:
    """The capabilities that our bounding set lacks, by the text of /proc/self/status."""
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, re.MULTILINE)
    bits = int(found[1], 16) if found else -1
    return [f"CAP_{name.upper()}" for bit, name in enumerate(_NAMES) if not bits >> bit & 1]


def wrapper(runc: Path, names: Sequence[str]) -> str:
    """A shell script that runs runc with those capabilities struck from the JSON file that it is given."""
    strikes = ";".join(f's/,"{name}"//g;s/"{name}",//g' for name in names)
    return f"""#!/bin/sh
previous= file=
for argument in "$@"; do
  case $previous in --bundle) file=$argument/config.json ;; --process) file=$argument ;; esac
  previous=$argument
done
[ -z "$file" ] || sed -i {shlex.quote(strikes)} "$file"
exec {shlex.quote(str(runc))} "$@"
"""
