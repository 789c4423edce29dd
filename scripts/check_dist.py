"""Checks what is in the built distributions: what has to be there, and nothing by mistake."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Bytes: of a whole distribution as it is downloaded, and of one file in it.
LARGEST = {".whl": 2_000_000, ".gz": 16_000_000}
LARGEST_FILE = 3_000_000
IN_WHEEL = (
    "static/widget.js", "static/widget.css", "findings/facts.json", "flow/schema.json",
    "model/families.json", "lens/reference.txt", "py.typed",
)  # fmt: skip
IN_SDIST = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff",
            "js/build.mjs", "package-lock.json", "docs/protocol.md")  # fmt: skip
UNWANTED = re.compile(
    r"(^|/)(__pycache__|node_modules|\.venv[^/]*|\.git|build|dist|screenshots|\.[a-z]+_cache)(/|$)"
    r"|\.(pyc|map|safetensors|gguf|bin|pt|ipynb_checkpoints)$"
)


def main() -> int:
    """Look into both; exit status 1 after a line for each fault."""
    folder = Path(sys.argv[1])
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    faults = [*wheel_faults(wheel), *sdist_faults(sdist)]
    for fault in faults:
        print(f"  {fault}")
    return 1 if faults else 0


def wheel_faults(wheel: Path) -> list[str]:
    """What is wrong with a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        metadata = next(name for name in sizes if name.endswith(".dist-info/METADATA"))
        told = archive.read(metadata).decode()
        bundle = {
            name: archive.read(f"visit_widget/{name}")
            for name in IN_WHEEL
            if f"visit_widget/{name}" in sizes
        }
    faults = sized(wheel, sizes)
    faults += [f"{wheel.name} lacks {name}" for name in IN_WHEEL if name not in bundle]
    faults += [
        f"{name} in {wheel.name} is not the checkout's"
        for name, content in bundle.items()
        if content != (ROOT / "visit_widget" / name).read_bytes()
    ]
    top = re.compile(r"visit_widget/|visit_widget-[\w.]+\.dist-info/")
    faults += [f"{name} is no part of the package" for name in sizes if not top.match(name)]
    python = {p.relative_to(ROOT).as_posix() for p in (ROOT / "visit_widget").rglob("*.py")}
    faults += [f"{wheel.name} lacks {name}" for name in sorted(python - sizes.keys())]
    if "License-Expression: MIT" not in told or "Description-Content-Type" not in told:
        faults.append(f"{wheel.name} says no licence, or has no description")
    return faults


def sdist_faults(sdist: Path) -> list[str]:
    """What is wrong with a source distribution."""
    with tarfile.open(sdist) as archive:
        sizes = {
            member.name.partition("/")[2]: member.size
            for member in archive.getmembers()
            if member.isfile()
        }
    faults = sized(sdist, sizes)
    wanted = (*IN_SDIST, *(f"visit_widget/{name}" for name in IN_WHEEL))
    return faults + [f"{sdist.name} lacks {name}" for name in wanted if name not in sizes]


def sized(built: Path, sizes: dict[str, int]) -> list[str]:
    """Faults that both kinds may have; says how large it is."""
    whole = built.stat().st_size
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    about = ", ".join(f"{name} {sizes[name] / 1000:.0f} kB" for name in largest)
    print(f"  {built.name}: {len(sizes)} files, {whole / 1000:.0f} kB; largest: {about}")
    faults = [f"{name} is there by mistake" for name in sizes if UNWANTED.search(name)]
    faults += [f"{n} has {s:,} bytes" for n, s in sizes.items() if s > LARGEST_FILE]
    if whole > LARGEST[built.suffix]:
        faults.append(f"{built.name} has {whole:,} bytes")
    return faults


if __name__ == "__main__":
    sys.exit(main())
