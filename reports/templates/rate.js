// The rating page. Whatever it shows goes through textContent: answers are data.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const pairs = data.pairs;
  const byId = (id) => document.getElementById(id);
  const KEYS = { "1": "a", "a": "a", "2": "b", "b": "b", "3": "tie", "=": "tie" };
  const PREFIX = "imitate-rate:" + data.page_id + ":";
  let rater = "";
  let answers = {};
  let place = 0;

  const warn = (text) => { byId("warning").textContent = text; byId("warning").hidden = false; };
  const recall = (key) => {
    try { return localStorage.getItem(PREFIX + key); } catch { return null; }
  };
  const keep = (key, value) => {
    try {
      localStorage.setItem(PREFIX + key, value);
    } catch {
      warn("This browser keeps nothing: do not close the page before you have saved your ratings as a file.");
    }
  };
  const known = (name) => {
    const kept = JSON.parse(recall("of:" + name) || "{}");
    return Object.fromEntries(pairs.filter((pair) => kept[pair.id]).map((pair) => [pair.id, kept[pair.id]]));
  };
  const cleaned = (name) => name.normalize("NFC").replace(/\s+/g, " ").trim();
  const nAnswered = () => Object.keys(answers).length;
  const firstOpen = () => pairs.findIndex((pair) => !answers[pair.id]);

  const view = (name) => {
    for (const id of ["intro", "rating", "end"]) byId(id).hidden = id !== name;
    byId("bar").hidden = name === "intro";
    byId("progress").value = nAnswered();
    byId("count").textContent = nAnswered() + " of " + pairs.length + " answered";
  };
  const fill = (id, text) => {
    const box = byId(id);
    const isEmpty = !text.trim();
    box.textContent = isEmpty ? "(nothing was answered)" : text;
    box.classList.toggle("empty", isEmpty);
    box.scrollTop = 0;
  };
  const show = () => {
    const pair = pairs[place];
    fill("prompt", pair.prompt);
    fill("a", pair.a);
    fill("b", pair.b);
    byId("place").textContent = "Pair " + (place + 1) + " of " + pairs.length;
    byId("back").disabled = place === 0;
    const said = (answers[pair.id] || {}).choice;
    for (const button of document.querySelectorAll("[data-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.choice === said));
    }
    view("rating");
    byId("place").focus({ preventScroll: true });
    scrollTo(0, 0);
  };
  const finish = () => {
    const nOpen = pairs.length - nAnswered();
    byId("end-title").textContent = nOpen ? nOpen + (nOpen === 1 ? " pair is" : " pairs are") + " still open" : "All pairs are answered";
    byId("end-text").textContent = "Save your ratings as a file and send it to whoever gave you this page. They stay in this browser too.";
    byId("open").hidden = !nOpen;
    view("end");
    byId("end-title").focus();
  };
  const goTo = (wanted) => {
    place = Math.max(0, wanted);
    if (place < pairs.length) show();
    else finish();
  };
  const choose = (choice) => {
    answers[pairs[place].id] = { choice, at: new Date().toISOString() };
    keep("of:" + rater, JSON.stringify(answers));
    goTo(place + 1);
  };

  const save = () => {
    const told = {
      kind: "imitate ratings",
      schema_version: 1,
      page_id: data.page_id,
      rater,
      saved: new Date().toISOString(),
      n_pairs: pairs.length,
      answers: pairs.filter((pair) => answers[pair.id]).map((pair) => ({ id: pair.id, ...answers[pair.id] })),
    };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(told, null, 1) + "\n"], { type: "application/json" }));
    link.download = "ratings-" + data.page_id + "-" + (rater.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "rater") + ".json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };

  const sayResumed = () => {
    const name = cleaned(byId("name").value);
    const n = name ? Object.keys(known(name)).length : 0;
    byId("resumed").textContent = n ? n + " of " + pairs.length + " pairs are answered under this name: you go on from there." : "";
  };
  byId("start").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = cleaned(byId("name").value);
    if (!name) return;
    rater = name;
    answers = known(rater);
    keep("last", rater);
    const open = firstOpen();
    goTo(open < 0 ? pairs.length : open);
  });
  byId("name").addEventListener("input", sayResumed);
  document.addEventListener("keydown", (event) => {
    if (byId("rating").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const choice = KEYS[event.key.toLowerCase()];
    if (choice) choose(choice);
    else if ((event.key === "ArrowLeft" || event.key === "Backspace") && place > 0) goTo(place - 1);
    else if (event.key === "ArrowRight") goTo(place + 1);
    else return;
    event.preventDefault();
  });
  for (const button of document.querySelectorAll("[data-choice]")) {
    button.addEventListener("click", () => choose(button.dataset.choice));
  }
  for (const button of document.querySelectorAll(".save")) button.addEventListener("click", save);
  byId("back").addEventListener("click", () => goTo(place - 1));
  byId("next").addEventListener("click", () => goTo(place + 1));
  byId("open").addEventListener("click", () => goTo(firstOpen()));
  byId("again").addEventListener("click", () => goTo(0));
  byId("name").value = recall("last") || "";
  sayResumed();
  byId("name").focus();
})();
