"""What does the diagnosis say of forty-eight real programs, and of what their patches make of them?

    python benchmarks/real_programs [--seed 0] [--only POST ...]

DeepFD's benchmark (Cao et al. 2022), less four programs that by the study have no fault, or one whose repair makes
things worse. Each is run as it was asked about and as its patch leaves it. *Named*: a cause that the study's fault is
called by comes first or second; *wrong*: something else does; *silent*: nothing is said. A mended program is *accused*
of what its patch did mend or of what isn't there, and *left* with faults that the patch doesn't touch.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import on_curves
import on_pictures
import on_tables
import torch
from as_keras import Program, run

PROGRAMS: list[Program] = [*on_curves.PROGRAMS, *on_tables.PROGRAMS, *on_pictures.PROGRAMS]


def examine(program: Program, seed: int) -> dict[str, Any]:
    """What is said of a program, sick and mended, as plain values."""
    row: dict[str, Any] = {
        "post": program.post,
        "faults": program.faults,
        "seen": program.seen,
        "data": program.data,
        "network": program.network,
    }
    for version, training in (("sick", program.sick), ("mended", program.mended)):
        if training is None:
            continue
        verdict, losses, seconds = run(training, seed)
        said = [finding.cause for finding in verdict.findings]
        row[version] = said
        row[f"{version} losses"] = [losses[0], sum(losses[-10:]) / len(losses[-10:])]
        row[f"{version} seconds"] = seconds
    said = row["sick"]
    row["verdict"] = "named" if set(said[:2]) & set(program.causes) else "wrong" if said else "silent"
    if "mended" in row:
        unfounded = set(row["mended"]) - set(program.left)
        row["after"] = "accused" if unfounded else "left" if row["mended"] else "nothing"
    return row


def rows(seed: int = 0) -> list[dict[str, Any]]:
    return [examine(program, seed) for program in PROGRAMS]


def totals(found: list[dict[str, Any]]) -> dict[str, int]:
    """Of those whose faults signals can show at least partly, and of all."""
    visible = [row for row in found if row["seen"] != "no"]
    mended = [row for row in found if "mended" in row]
    return {
        "visible": len(visible),
        "visible_found": sum(bool(row["sick"]) for row in visible),
        "visible_named": sum(row["verdict"] == "named" for row in visible),
        "all": len(found),
        "found": sum(bool(row["sick"]) for row in found),
        "named": sum(row["verdict"] == "named" for row in found),
        "mended": len(mended),
        "spared": sum(row["after"] != "accused" for row in mended),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What does the diagnosis say of real programs?")
    parser.add_argument("--seed", type=int, nargs="*", default=[0])
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    for seed in options.seed:
        found = []
        for program in PROGRAMS:
            if options.only and not any(word in program.post for word in options.only):
                continue
            found.append(row := examine(program, seed))
            print(f"{row['verdict']:7}{row['seen']:7}{row['post'][:12]:13}{row['faults']}")
            for version in ("sick", "mended"):
                if version in row:
                    first, last = row[f"{version} losses"]
                    said = ", ".join(row[version]) or "nothing"
                    print(f"{'':14}{version}: {said}  [{first:.3g} -> {last:.3g}, {row[version + ' seconds']:.1f} s]")
            print(f"{'':14}after: {row.get('after')}", flush=True)
        print(f"seed {seed}:", ", ".join(f"{name} {count}" for name, count in totals(found).items()))


if __name__ == "__main__":
    main()
