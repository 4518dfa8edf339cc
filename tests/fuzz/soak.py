"""`make fuzz`: thousands of damaged and forged files of each kind, and what became of each. The tests run a short slice.

A file may be refused, by one ValueError that names it, or be loaded: then it must say one thing to zipfile, numpy and json,
and what was loaded, saved again, must say the same. A refused load leaves the model and the folder as they were. Loading
takes no more memory, beyond what it returns, than twice the file's size: beside the OBJECTS that Python itself needs for
any load, and what `json.loads` alone needs for the file's metadata, which is measured on that very text.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import sys
import tempfile
import time
import tracemalloc
import zipfile
from collections import Counter
from datetime import date
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from file_forge import METADATA, content, damage, forge
from file_kinds import KINDS, Kind, make_kind

from minilora import storage

OBJECTS = 2**14  # bytes of Python's own objects in any load: paths, names, headers, a dict, an error
PAGE = Path(__file__).with_name("README.md")
FATES = ("refused", "the same", "valid", "silently wrong", "other exception", "unnamed", "changed", "memory")
FAILURES = FATES[3:]


def fate(kind: Kind, data: bytes, sound: bytes) -> tuple[str, str, int]:
    """(what became of the file, why, bytes of memory beyond twice its size and JSON's need) when it was loaded as `kind`."""
    kind.path.write_bytes(data)
    before = kind.state() if kind.before is None else kind.before
    kind.before = None
    tracemalloc.start()
    try:
        error = None
        try:
            kind.load()
        except ValueError as refusal:
            error = refusal
        kept, peak = tracemalloc.get_traced_memory()
    except Exception as other:  # every other kind is what is looked for
        kind.reset()
        return "other exception", repr(other), 0
    finally:
        tracemalloc.stop()
    excess = peak - (0 if error else kept) - 2 * len(data)
    if excess > OBJECTS:
        excess -= json_bytes(data)
    if error is not None:
        if kind.state() != before:
            return "changed", repr(error), excess
        kind.before = before
        if kind.path.name not in str(error) or len(str(error)) > 4000:
            return "unnamed", repr(error), excess
        verdict = "refused", str(error)
    else:
        try:
            again = kind.again().read_bytes()
        except Exception as other:
            kind.reset()
            return "silently wrong", f"loaded, but not saved again: {other!r}", excess
        verdict = _compared(kind, data, again, sound)
        kind.reset()
        if kind.undone and kind.state() != before:
            return "changed", "not as before after the adapter was taken off", excess
    if excess > OBJECTS:
        return "memory", f"{excess} bytes beyond twice the size, {verdict}", excess
    return *verdict, excess


def json_bytes(data: bytes) -> int:
    """What `json.loads` takes for the metadata of a file, whoever calls it; 0 where there is none to read."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            text = archive.read(METADATA).decode("ascii")
    except Exception:  # not an archive any more, or one without metadata
        return 0
    tracemalloc.start()
    try:
        with contextlib.suppress(ValueError, RecursionError):
            json.loads(text)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _compared(kind, data, again, sound):
    if data == sound:
        return "the same", ""
    try:
        said, kept = content(data), content(again)
    except Exception as error:  # a file that was loaded, but that others cannot read
        return "silently wrong", f"loaded, but {error!r}"
    said, kept = ((arrays, kind.same(metadata)) for arrays, metadata in (said, kept))
    if difference := _difference(said, kept):
        return "silently wrong", difference
    return "valid", ""


def _difference(said, kept):
    arrays, others = said[0], kept[0]
    if arrays.keys() != others.keys():
        return f"arrays {sorted(arrays.keys() ^ others.keys())}"
    for name, array in arrays.items():
        other = others[name]
        if (array.dtype, array.shape, array.tobytes()) != (other.dtype, other.shape, other.tobytes()):
            return f"array {name}"
    return "" if _equal(said[1], kept[1]) else f"metadata {said[1]} became {kept[1]}"


def _equal(one, two):
    """Equal as JSON: 8 is 8.0 (and 10**300 is 1e300), but true is not 1, and NaN is NaN."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_equal(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_equal, one, two))
    if type(one) is int and type(two) is float:
        return float(one) == two
    return isinstance(one, bool) == isinstance(two, bool) and (one == two or (one != one and two != two))


def soak(folder: Path, counts: dict[str, int], seed: int, make=damage, progress=None) -> dict[str, dict]:
    """Load as many files that `make` broke as `counts` says for each kind: {kind: {"fates", "excess", "failures"}}."""
    report = {}
    with mock.patch.object(os, "fsync", lambda handle: None):  # the disk is not what is tested
        for name, count in counts.items():
            kind = make_kind(name, folder)
            sound = kind.path.read_bytes()
            what, why, _ = fate(kind, sound, sound)
            assert what == "the same", f"{name}: {what}: {why}"
            fates, most, failures = Counter(), 0, []
            for i in range(count):
                data = make(sound, np.random.default_rng([seed, i]))
                what, why, excess = fate(kind, data, sound)
                fates[what] += 1
                most = max(most, excess)
                if what in FAILURES:
                    failures.append(f"{name}, {make.__name__} seed [{seed}, {i}]: {what}: {why[:500]}")
                if progress is not None:
                    progress.update()
            report[name] = {"fates": fates, "excess": most, "failures": failures}
    return report


def page(reports: dict[str, dict], command: str, seconds: float) -> str:
    """The results as Markdown."""
    lines = [
        "# Damaged and forged files",
        "",
        f"Written by `{command}` on {date.today()}, in {seconds:.0f} s (Python {platform.python_version()}, numpy {np.__version__}).",
        "",
        "Random: one to three accidents to a sound file's bytes. Forged: one to three changes to its content, all checksums right again.",
        "Refused: by one ValueError that names file and fault, model and folder as before. Valid: loaded, and what was loaded, saved",
        "again, says what the file says (a forger may change a weight to another number; no checksum can know). Failures are all else:",
        "silently wrong, any other exception, an error that does not name the file, a changed model, and memory. Memory: the most that",
        f"one load took beyond twice its file's size and what it returned, in KiB; more than {OBJECTS // 1024} is a failure. These few are",
        "Python's own objects (the path, names, headers, the error), which a file of any size needs; a small file is judged as a",
        "large one is. Not counted is what `json.loads` alone takes for the very metadata of the file, measured on its own each time:",
        "60,000 characters of empty lists are 1.2 MB of Python's lists, whoever reads them. How much of that a file may ask for is",
        f"bounded, too: twice its size and {storage.SPARE_BYTES // 2**20} MiB, judged before it is parsed (tests/test_storage.py).",
        "",
        "| kind | | files | refused | the same | valid | failures | memory, KiB |",
        "|:---|:---|---:|---:|---:|---:|---:|---:|",
    ]
    for how, report in reports.items():
        for name, row in report.items():
            counts = row["fates"]
            failures = sum(counts[what] for what in FAILURES)
            lines.append(
                f"| {name} | {how} | {counts.total():,} | {counts['refused']:,} | {counts['the same']:,} | {counts['valid']:,} "
                f"| {failures} | {max(row['excess'], 0) / 1024:,.0f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, default=2000, help="files of each kind whose bytes are damaged")
    parser.add_argument("--forged", type=int, default=1000, help="files of each kind whose content is forged")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="KIND", help="the kinds with this in their name")
    parser.add_argument("--out", type=Path, default=PAGE, help="where the results are written")
    args = parser.parse_args()
    from tqdm import tqdm

    started, reports = time.perf_counter(), {}
    for how, make, count in (("random", damage, args.random), ("forged", forge, args.forged)):
        counts = {name: count for name in KINDS if args.only in name}
        with tempfile.TemporaryDirectory() as folder, tqdm(desc=how, total=sum(counts.values()), disable=None) as bar:
            reports[how] = soak(Path(folder), counts, args.seed, make, bar)
    command = f"python tests/fuzz/soak.py --random {args.random} --forged {args.forged} --seed {args.seed}"
    storage.write_text(args.out, page(reports, command, time.perf_counter() - started))
    failures = [line for report in reports.values() for row in report.values() for line in row["failures"]]
    with contextlib.suppress(BrokenPipeError):
        print(args.out.read_text(encoding="utf-8"), *failures[:50], sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
