"""See the package's docstring; `make generate` and `make lint` call it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from orchestrator_operator import reference
from orchestrator_operator.reference.pages import FOLDER, pages


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator_operator.reference",
        description=reference.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="only compare; exit code 1 on drift")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    texts = {options.folder / name: text for name, text in pages().items()}
    stale = [file for file, text in texts.items() if not file.exists() or file.read_text(encoding="utf-8") != text]
    left = sorted(set(options.folder.glob("*")) - texts.keys()) if options.folder.exists() else []
    if options.check:
        for file in (*stale, *left):
            sys.stderr.write(f"{file} differs from the code: run `make generate`\n")
        return 1 if stale or left else 0
    options.folder.mkdir(parents=True, exist_ok=True)
    for file in stale:
        file.write_text(texts[file], encoding="utf-8")
    for file in left:
        file.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
