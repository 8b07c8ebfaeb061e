"""vLLM servers as endpoints: started, watched and stopped here, or there already.

The modules run from the server outwards: `command` says how it is started, `process` keeps it for
the length of a `with` block, `leftovers` finds what a killed run left behind, `faults` reads from a
log why a server died, `running` loads adapters on servers of others, `endpoint` asks them all.
Nothing here imports vLLM: it runs in a process of its own. Nor does the package import its modules:
whoever only wants to know whether vLLM is there need not load a tokenizer.
"""
