// The browser of paired outputs. Whatever it shows goes through textContent: outputs are data.
"use strict";
(() => {
  const source = document.getElementById("outputs-data");
  const form = document.getElementById("filters");
  if (!source || !form) return;
  const data = JSON.parse(source.textContent);
  const PER_PAGE = 10;
  const byId = (id) => document.getElementById(id);
  const fields = form.elements;
  let page = 0;

  const output = (item, arm) => item.outputs[arm];
  const base = (arm) => data.base_of[arm];
  const isRight = (one) => one && one.outcome === "right";
  const isJudged = (one) => one && one.outcome && one.outcome !== "failed";
  const wonStyle = (item, arm) => {
    const ours = output(item, arm), own = output(item, base(arm));
    return Boolean(ours && own && ours.style !== undefined && ours.style > (own.style || 0));
  };
  const lostFact = (item, arm) =>
    isRight(output(item, base(arm))) && isJudged(output(item, arm)) && !isRight(output(item, arm));
  const wonFact = (item, arm) =>
    isRight(output(item, arm)) && isJudged(output(item, base(arm))) && !isRight(output(item, base(arm)));
  const has = (outcome) => (item, arm) => (output(item, arm) || {}).outcome === outcome;
  const VIEWS = {
    "all": ["all items", () => true],
    "won-lost": ["won on style, lost on fact", (i, a) => wonStyle(i, a) && lostFact(i, a)],
    "lost": ["lost on fact", lostFact],
    "won": ["won on fact", wonFact],
    "abstained": ["abstained", has("abstained")],
    "failed": ["failed", has("failed")],
    "cut": ["cut off", (i, a) => (output(i, a) || {}).finish_reason === "length"],
  };

  const element = (tag, text, name) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  };
  const option = (select, value, text) => {
    const made = element("option", text);
    made.value = value;
    select.append(made);
  };

  const answer = (role, one) => {
    const box = element("div", undefined, "answer");
    const head = element("p");
    head.append(element("b", role));
    if (one.outcome) head.append(element("span", one.outcome, one.outcome === "right" ? "right" : one.outcome === "wrong" ? "wrong" : ""));
    const marks = [];
    if (one.style !== undefined) marks.push(Math.round(100 * one.style) + " % teacher-like");
    if (one.extracted !== undefined) marks.push("read as “" + one.extracted + "”");
    if (one.finish_reason === "length") marks.push("cut off");
    if (one.format) marks.push(one.format);
    head.append(element("small", marks.join(", ")));
    const text = element("pre", one.text || "(no output)");
    text.tabIndex = 0;
    box.append(head, text);
    return box;
  };
  const article = (item, arm) => {
    const box = element("article", undefined, "pair");
    box.append(element("h3", [item.task, item.group, item.item_id].filter(Boolean).join(" · ")));
    box.append(element("p", item.prompt, "prompt"));
    const accepted = (item.answers || []).join(", ");
    if (accepted) box.append(element("p", "Accepted: " + accepted, "accepted"));
    const answers = element("div", undefined, "answers");
    const roles = [["base " + base(arm), base(arm)], [arm, arm], ["teacher", "teacher"]];
    for (const [role, name] of roles) {
      if (output(item, name)) answers.append(answer(role, output(item, name)));
    }
    box.append(answers);
    return box;
  };

  const says = (item, arm, wanted) => {
    if (!wanted) return true;
    const texts = [item.prompt, ...(item.answers || [])];
    for (const name of [base(arm), arm, "teacher"]) texts.push((output(item, name) || {}).text || "");
    return texts.some((text) => String(text).toLowerCase().includes(wanted));
  };
  const found = (view) => {
    const arm = fields.arm.value, task = fields.task.value;
    const wanted = fields.search.value.trim().toLowerCase();
    return data.items.filter((item) =>
      output(item, arm) && (!task || item.task === task) && VIEWS[view][1](item, arm) && says(item, arm, wanted));
  };
  const show = () => {
    for (const choice of fields.show.options) {
      choice.textContent = VIEWS[choice.value][0] + " (" + found(choice.value).length + ")";
    }
    const items = found(fields.show.value);
    const last = Math.max(0, Math.ceil(items.length / PER_PAGE) - 1);
    page = Math.min(Math.max(page, 0), last);
    const first = page * PER_PAGE;
    const shown = items.slice(first, first + PER_PAGE);
    byId("list").replaceChildren(...shown.map((item) => article(item, fields.arm.value)));
    byId("shown").textContent = items.length
      ? (first + 1) + "–" + (first + shown.length) + " of " + items.length + " items"
      : "No item matches.";
    byId("previous").disabled = page === 0;
    byId("next").disabled = page === last;
  };
  const turn = (step) => { page += step; show(); byId("outputs").scrollIntoView(); };

  const answered = new Set(data.items.flatMap((item) => Object.keys(item.outputs)));
  const arms = [...answered].filter((arm) => base(arm) && base(arm) !== arm).sort();
  if (!arms.length) return;
  for (const arm of arms) option(fields.arm, arm, arm);
  if (arms.includes(data.lead)) fields.arm.value = data.lead;
  option(fields.task, "", "all tasks");
  for (const task of new Set(data.items.map((item) => item.task))) option(fields.task, task, task);
  for (const view of Object.keys(VIEWS)) option(fields.show, view, VIEWS[view][0]);
  fields.show.value = ["won-lost", "lost"].find((view) => found(view).length) || "all";
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => { page = 0; show(); });
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  form.hidden = false;
  byId("browser").hidden = false;
  byId("examples").hidden = true;
  show();
})();
