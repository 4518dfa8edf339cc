"""`make mutants`: does a test fail when the code is changed? mutmut makes the changes; this chooses, resumes, and reports.

    python tools/mutants.py                      every mutant of nn, quant, adapters and training (hours; resumes)
    python tools/mutants.py --sample 400         400 of them, drawn with --seed
    python tools/mutants.py --survivors          those that survived, again, after tests were added
    python tools/mutants.py --only "minilora.quant.*"
    python tools/mutants.py --report             only write tools/MUTANTS.md from what was run

mutmut works on a copy in mutants/ and keeps each verdict there, so a run that was stopped resumes where it was; a function
that was edited is tried again. `tools/equivalent.toml` says of survivors why no test can or need kill them. What mutmut
leaves alone (decorated functions, so properties and cached tables, and the wording of errors) is not counted.
"""

import argparse
import collections
import fnmatch
import json
import os
import random
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "mutants"
PAGE = ROOT / "tools" / "MUTANTS.md"
EQUIVALENT = ROOT / "tools" / "equivalent.toml"
KILLED, SURVIVED, UNTESTED = "killed", "survived", "no test reaches it"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, help="how many mutants, drawn at random (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    parser.add_argument("--only", default="*", help="a pattern for mutants' names")
    parser.add_argument("--survivors", action="store_true", help="run those again that survived")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="tests side by side (default: all cores)")
    parser.add_argument("--report", action="store_true", help="write the page and run nothing")
    parser.add_argument("--note", default="", help="a sentence for the page, on what was run and when")
    options = parser.parse_args()
    os.chdir(ROOT)
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    if not options.report:
        generate(options.jobs)
    names = sorted(name for name in verdicts() if fnmatch.fnmatch(name, options.only))
    if options.sample is not None and options.sample < len(names):
        names = sorted(random.Random(options.seed).sample(names, options.sample))
    if not options.report:
        state = verdicts()
        wanted = (SURVIVED,) if options.survivors else (None,)
        run([name for name in names if state[name] in wanted], options.jobs)
    print(report(names, options))


def generate(jobs):
    """Copy the sources to mutants/ and write all mutants there; verdicts of functions that did not change are kept."""
    import mutmut.__main__ as mutmut

    FOLDER.mkdir(exist_ok=True)
    os.environ["MUTANT_UNDER_TEST"] = "mutant_generation"
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.create_mutants(jobs)
    del os.environ["MUTANT_UNDER_TEST"]


def run(names, jobs):
    """In portions, so that stopping loses little and mutmut's list of names stays short."""
    for start in range(0, len(names), 200):
        print(f"mutants {start + 1} to {min(start + 200, len(names))} of {len(names)}", flush=True)
        command = [Path(sys.executable).with_name("mutmut"), "run", "--max-children", str(jobs)]
        done = subprocess.run([*command, *names[start : start + 200]], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(done.stdout[-3000:])


def verdicts():
    """{mutant: killed, survived, no test reaches it, or None where it has not been run}"""
    words = {0: SURVIVED, 5: UNTESTED, 33: UNTESTED, None: None}  # any other exit code is a failure or a timeout
    verdict = {}
    for path in sorted(FOLDER.rglob("*.meta")):
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        verdict |= {name: words.get(code, KILLED) for name, code in codes.items()}
    return verdict


def report(names, options):
    state = verdicts()
    rooms = collections.defaultdict(collections.Counter)
    for name in names:
        rooms[name.split(".")[1]][state[name]] += 1
    total = sum(rooms.values(), collections.Counter())
    tried = sum(count for verdict, count in total.items() if verdict)
    reasons = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    left, explained = [], []
    for name in names:
        if state[name] in (SURVIVED, UNTESTED):
            place, change = diff(name)
            why = [r["why"] for r in reasons if r["in"] in ("*", place) and re.search(pattern(r), change)]
            (explained if why else left).append((place, change, state[name], why[0] if why else ""))
    share = f"{total[KILLED] / tried:.1%}" if tried else "none"
    drawn = f"{len(names)} mutants drawn with seed {options.seed}" if options.sample else f"all {len(names)} mutants"
    lines = [
        "# Mutants", "",
        f"`make mutants` ({drawn}): {tried} were tried and **{share}** killed, {len(explained)} more cannot or need not be.", "",
        "What mutmut leaves alone is not counted: decorated functions (properties, cached tables), `raise` lines, the wording of errors.",
        "",
        *([options.note, ""] if options.note else []),
        "| room | killed | survived | no test reaches it | not tried | share killed |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for room, count in sorted(rooms.items()):
        tried_here = count.total() - count[None]
        share = f"{count[KILLED] / tried_here:.1%}" if tried_here else ""
        lines.append(f"| {room} | {count[KILLED]} | {count[SURVIVED]} | {count[UNTESTED]} | {count[None]} | {share} |")
    for title, rows in (("Survivors that are explained", explained), ("Survivors that are not", left)):
        lines += ["", f"## {title}", ""]
        for place, change, verdict, why in rows:
            lines += [f"`{place}`: {why or verdict}", "", "```diff", change, "```", ""]
        if not rows:
            lines += ["None.", ""]
    PAGE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8", newline="\n")
    return (
        "\n".join(line for line in lines[2:] if line.startswith(("`make", "|")))
        + f"\n{len(left)} survivors without an explanation; see {PAGE}"
    )


def pattern(reason):
    """What a reason looks for in the changed lines: a part of them (`line`) or a regular expression (`pattern`)."""
    return reason["pattern"] if "pattern" in reason else re.escape(reason["line"])


def diff(name):
    """(module.function, the lines changed) of a mutant."""
    import mutmut.__main__ as mutmut

    path = next(
        p for p in FOLDER.rglob("*.meta") if name in json.loads(p.read_text(encoding="utf-8"))["exit_code_by_key"]
    )
    source = str(path.relative_to(FOLDER)).removesuffix(".meta")
    text = mutmut.get_diff_for_mutant(name, path=source)
    changed = [line for line in text.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    place = name.split("__mutmut_")[0].replace(".x_", ".").replace("xǁ", "").replace("ǁ", ".")
    return place, "\n".join(changed)


if __name__ == "__main__":
    main()
