"""A process that measures one peer: `python -m benches.worker PEER KIND SIZE FOLDER CACHE S`.

It answers each line of its input, a case's id, with a line of JSON: the measured value, or why
there is none. `ready` makes the entities; `save` leaves a file of all of them in the folder for
processes that start after it. Clocked work that takes more than S seconds ends the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from benches.data import Data
from benches.machine import versions
from benches.peers import NAMED
from benches.questions import cases
from benches.trial import Trial, WrongAnswerError


def main() -> None:
    name, kind, size, folder, cache, cut_off = sys.argv[1:]
    with contextlib.suppress(OSError):  # if the machine's memory ends, let it be this process
        Path("/proc/self/oom_score_adj").write_text("1000")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints is no answer

    def tell(**answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    data = Data(kind, int(size), Path(cache))
    peer = NAMED[name].load()(data)
    trial = Trial(peer, data, Path(folder), cut_off=float(cut_off))
    known = cases()
    verbs = [verb for case in known.values() for verb in case.verbs if peer.has(verb)]
    tell(verbs=verbs, versions=versions(peer.packages))
    for line in sys.stdin:
        asked = line.strip()
        try:
            if asked == "save":
                trial.write_saved()
                tell(value=None)
            elif asked == "ready":
                _ = trial.items
                tell(value=None)
            else:
                tell(value=trial.sample(known[asked]))
        except WrongAnswerError as error:
            tell(wrong=str(error))
        except Exception as error:
            traceback.print_exc()
            tell(failed=f"{type(error).__name__}: {error}"[:300])


if __name__ == "__main__":
    main()
