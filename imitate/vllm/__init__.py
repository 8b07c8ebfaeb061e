"""vLLM servers as endpoints: started, watched and stopped here, or there already.

The modules run from the server outwards: `command` says how it is started, `process` keeps it for
the length of a `with` block, `leftovers` finds what a killed run left behind, `faults` reads from a
log why a server died, `endpoint` asks it. Nothing here imports vLLM: it runs in a process of its
own.
"""

from __future__ import annotations

from imitate.vllm.endpoint import ServedEndpoint, open_running, open_vllm
from imitate.vllm.process import VllmServer

__all__ = ["ServedEndpoint", "VllmServer", "open_running", "open_vllm"]
