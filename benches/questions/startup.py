"""How long does the first import take, in a process of its own?

Wall time of `import` in a new interpreter, byte code compiled before, files in the page cache.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from benches.questions import case
from benches.trial import Trial

_LIGHT = "it is a smaller library: no FAISS, no NumPy, no Pydantic models"
WHY = {
    **dict.fromkeys(("json", "orjson", "msgspec", "pickle", "pysimdjson", "sqlite"), _LIGHT),
    "pydantic": "omem imports it, and more",
    "faiss": "omem imports it, and more",
    "nothing": "the limit",
}
_CODE = (
    "import time; start = time.perf_counter(); import {}; "
    "print(time.perf_counter() - start); import sys; assert {!r} in sys.modules"
)


@case("import", "import", unit="ms", bare=True)
def cold(peer: Any, trial: Trial) -> float:
    name = peer.modules[0]
    code = _CODE.format(name, name)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return float(done.stdout) * 1e3
