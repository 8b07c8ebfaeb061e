// The spot check: asks a local endpoint. Whatever it shows goes through textContent: answers are data.
"use strict";
(() => {
  const form = document.getElementById("spot-form");
  if (!form) return;
  const byId = (id) => document.getElementById(id);
  const fields = form.elements;
  const isServed = location.protocol === "http:";
  let asking = null;

  const element = (tag, text, name) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  };
  const origin = () => (isServed ? location.origin : "http://127.0.0.1:" + fields.port.value);
  const say = (text, isFault) => {
    byId("spot-state").textContent = text;
    byId("spot-state").className = isFault ? "fault" : "";
  };

  // What went wrong, in words; what the endpoint says of it comes first.
  const unreachable = () => new Error("No endpoint answers at " + origin() + ". Start it with the command above.");
  const refusal = async (reply) => {
    if (reply.status === 401) return new Error("The endpoint refuses this key. The command above prints the right one.");
    let said = "";
    try { said = (await reply.json()).error.message; } catch { /* no JSON, or no error in it */ }
    return new Error(said || "The endpoint replied " + reply.status + ".");
  };
  const call = async (path, options) => {
    const headers = { "Authorization": "Bearer " + fields.key.value.trim(), "Content-Type": "application/json" };
    let reply;
    try {
      reply = await fetch(origin() + path, { ...options, headers, credentials: "omit", cache: "no-store" });
    } catch (error) {
      throw error.name === "AbortError" ? error : unreachable();
    }
    if (!reply.ok) throw await refusal(reply);
    return reply;
  };

  // Server-sent events: only `data` matters; comments and half lines are passed over.
  async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", data = [];
    for (;;) {
      const { value, done } = await reader.read();
      const lines = (rest + (value || "")).split(done ? /\r\n|\n|\r/ : /\r\n|\n|\r(?!$)/);
      rest = done ? "" : lines.pop();
      if (done) lines.push("");
      for (const line of lines) {
        if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
        else if (!line && data.length) { yield data.join("\n"); data = []; }
      }
      if (done) return;
    }
  }
  const read = (data) => {
    try { return JSON.parse(data) || {}; } catch { return {}; }
  };

  const cards = new Map();
  const card = (arm) => {
    const box = element("div", undefined, "answer"), head = element("p");
    const status = element("small", "waiting"), text = element("pre", "");
    text.tabIndex = 0;
    text.setAttribute("aria-label", "Answer of " + arm);
    head.append(element("b", arm), status);
    box.append(head, text);
    return { box, status, text };
  };
  const listen = async (arm, body, signal) => {
    const { status, text } = cards.get(arm);
    const started = performance.now();
    const seconds = () => ((performance.now() - started) / 1000).toFixed(1) + " s";
    let reason = "";
    try {
      const reply = await call("/v1/chat/completions", { method: "POST", signal, body: JSON.stringify({ ...body, model: arm, stream: true }) });
      for await (const data of events(reply.body)) {
        const event = read(data);
        if (event.error) throw new Error(event.error.message || String(event.error));
        const choice = (event.choices || [])[0] || {};
        text.append(String((choice.delta || {}).content || ""));
        reason = choice.finish_reason || reason;
        status.textContent = seconds();
      }
      if (!reason) throw new Error("The answer broke off.");
      text.textContent = text.textContent.trim();
      status.textContent = seconds() + (reason === "length" ? ", cut off" : "");
      return true;
    } catch (error) {
      status.textContent = error.name === "AbortError" ? "stopped" : error.message;
      status.className = "fault";
      return false;
    }
  };

  // Ask for the arms that are served: it shows whether the endpoint is there and takes the key.
  const connect = async (signal) => {
    const reply = await call("/v1/models", { signal });
    const served = new Set((await reply.json()).data.map((model) => model.id));
    for (const box of form.querySelectorAll("[name=arm]")) {
      box.disabled = !served.has(box.value);
      box.parentElement.title = box.disabled ? "not served" : "";
    }
    const others = byId("spot-others");
    if (others && !form.querySelector("[name=arm]:checked:enabled")) others.open = true;
    byId("spot-hint").hidden = true;
    return served;
  };
  const guarded = async (work) => {
    asking = new AbortController();
    byId("spot-ask").disabled = true;
    byId("spot-stop").disabled = false;
    try {
      await work(asking.signal);
    } catch (error) {
      say(error.name === "AbortError" ? "Stopped." : error.message, true);
      if (error.name !== "AbortError") byId("spot-hint").hidden = false;
    } finally {
      byId("spot-ask").disabled = false;
      byId("spot-stop").disabled = true;
    }
  };
  const ask = () => guarded(async (signal) => {
    say("Asking …");
    const body = {
      messages: [{ role: "user", content: fields.prompt.value }],
      temperature: Number(fields.temperature.value),
      seed: Number(fields.seed.value),
      max_tokens: Number(fields.max_tokens.value),
    };
    await connect(signal);
    const arms = [...form.querySelectorAll("[name=arm]:checked:enabled")].map((box) => box.value);
    if (!arms.length) {
      say("Tick an arm that is served.", true);
      return;
    }
    cards.clear();
    for (const arm of arms) cards.set(arm, card(arm));
    byId("spot-answers").replaceChildren(...[...cards.values()].map((one) => one.box));
    const answered = await Promise.all(arms.map((arm) => listen(arm, body, signal)));
    say(answered.filter(Boolean).length + " of " + arms.length + " answered.");
  });
  const greet = () => guarded(async (signal) => {
    const served = await connect(signal);
    say("Connected to " + origin() + ", " + served.size + " arms.");
  });

  // The link that `imitate serve` prints carries the key behind #, which no server sees; it leaves
  // the address bar at once.
  const readLink = () => {
    const link = new URLSearchParams(location.hash.slice(1));
    if (!link.has("key")) return;
    fields.key.value = link.get("key");
    if (link.has("port")) fields.port.value = link.get("port");
    history.replaceState(null, "", "#spot");
    byId("spot").scrollIntoView();
    greet();
  };

  form.addEventListener("submit", (event) => { event.preventDefault(); if (!byId("spot-ask").disabled) ask(); });
  fields.prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  byId("spot-stop").addEventListener("click", () => asking && asking.abort());
  window.addEventListener("hashchange", readLink);
  byId("spot-port").hidden = isServed;
  form.hidden = false;
  readLink();
})();
