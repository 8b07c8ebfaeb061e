"""`imitate serve`: the models of a run behind one loopback endpoint, each arm by its name.

From the run to the reply: `arms` says what of a run can be asked, `upstreams` starts the servers
behind it, `front` is the endpoint, `relay` passes a request on (`retelling` spells answers, `sse`
reads streams), `note` lets `imitate spot` find it, `command` binds them.
"""
