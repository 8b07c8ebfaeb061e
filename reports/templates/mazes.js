// Mazes with what a network said about them, operation by operation. Numbers and words only; every
// shape is made element by element.
"use strict";
(() => {
  const source = document.getElementById("slider-data");
  const place = document.getElementById("mazes");
  if (!source || !place) return;
  const examples = JSON.parse(source.textContent).examples;
  if (!examples.length) return;
  const SVG = "http://www.w3.org/2000/svg";
  const SIDE = 320;

  const element = (tag, attributes, text) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const shape = (tag, attributes, text) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const box = element("div", { class: "slider" });
  const problem = element("select", { "aria-label": "Problem" });
  examples.forEach((one, index) => {
    problem.append(element("option", { value: index }, `${one.test}, ${index + 1}`));
  });
  const arm = element("select", { "aria-label": "Before the plan" });
  Object.keys(examples[0].answers).forEach((name) => {
    arm.append(element("option", { value: name }, name));
  });
  const range = element("input", { type: "range", min: 0, value: 0, "aria-label": "Operation" });
  const told = element("p", { class: "note", "aria-live": "polite" });
  const svg = shape("svg", { role: "img", class: "maze" });
  const verdicts = element("ul", { class: "note" });

  const chosen = () => {
    const one = examples[Number(problem.value)];
    return [one, one.answers[arm.value]];
  };
  const objection = (name, verdict) => {
    if (!verdict) return `${name}: no trace to judge`;
    if (!verdict.fault) return `${name}: valid`;
    const where = verdict.at === null ? "" : ` at operation ${verdict.at + 1}`;
    return `${name}: ${verdict.fault}${where}`;
  };
  const draw = () => {
    const [one, answer] = chosen();
    const at = Number(range.value), step = SIDE / Math.max(one.rows, one.columns);
    const placed = (cell) => [cell % one.columns, Math.floor(cell / one.columns)];
    const middle = ([x, y]) => [(x + 0.5) * step, (y + 0.5) * step];
    const square = (cell, fill) => {
      const [x, y] = middle(cell);
      return shape("rect", {
        x: (x - 0.46 * step).toFixed(1), y: (y - 0.46 * step).toFixed(1),
        width: (0.92 * step).toFixed(1), height: (0.92 * step).toFixed(1), fill,
      });
    };
    const word = (cell, text, fill) => {
      const [x, y] = middle(cell);
      return shape("text", {
        x: x.toFixed(1), y: (y + 0.12 * step).toFixed(1), fill, "text-anchor": "middle",
        "font-size": (0.36 * step).toFixed(1),
      }, text);
    };
    const line = (cells, attributes) => shape("polyline", {
      points: cells.map((cell) => middle(cell).map((v) => v.toFixed(1)).join(",")).join(" "),
      fill: "none", "stroke-linejoin": "round", "stroke-linecap": "round", ...attributes,
    });
    svg.setAttribute("viewBox", `0 0 ${(one.columns * step).toFixed(1)} ${(one.rows * step).toFixed(1)}`);
    const shapes = [];
    for (let cell = 0; cell < one.rows * one.columns; cell += 1) {
      shapes.push(square(placed(cell), one.walls.includes(cell) ? "#4a5059" : "#e6e9ed"));
    }
    const done = answer.operations.slice(0, at), order = new Map();
    let closed = 0;
    for (const [isClose, x, y] of done) {
      if (isClose) order.set(`${x} ${y}`, [[x, y], (closed += 1)]);
      shapes.push(square([x, y], isClose ? "#5bb4f0" : "#c8e2f6"));
    }
    for (const [cell, number] of order.values()) shapes.push(word(cell, number, "#1b1f24"));
    const faulty = answer.published && answer.published.fault ? answer.published.at : null;
    if (faulty !== null && at > faulty) {
      const [x, y] = middle(answer.operations[faulty].slice(1, 3));
      shapes.push(shape("circle", {
        cx: x.toFixed(1), cy: y.toFixed(1), r: (0.42 * step).toFixed(1), fill: "none",
        stroke: "#d55e00", "stroke-width": (0.1 * step).toFixed(1),
      }));
    }
    if (at === answer.operations.length && answer.plan.length) {
      shapes.push(line(answer.plan, {
        stroke: answer.plan_fault ? "#d55e00" : "#009e73", "stroke-width": (0.14 * step).toFixed(1),
      }));
    }
    shapes.push(word(placed(one.start), "S", "#b05a8a"), word(placed(one.goal), "G", "#b05a8a"));
    svg.replaceChildren(...shapes);
    svg.setAttribute("aria-label", `Maze after ${at} of ${answer.operations.length} operations`);
    const last = done.length ? done[done.length - 1] : null;
    const said = last
      ? `${last[0] ? "close" : "create"} ${last[1]} ${last[2]}, cost ${last[3]}, ` +
        `distance ${last[4]}`
      : "the problem";
    told.textContent = `Operation ${at} of ${answer.operations.length}: ${said}`;
    verdicts.replaceChildren(
      element("li", {}, `plan: ${answer.plan_fault || "right"}, ` +
        `${answer.plan.length} cells, the shortest path ${one.path.length}`),
      element("li", {}, objection("published validator", answer.published)),
      element("li", {}, objection("strict validator", answer.strict)),
    );
  };
  const restart = () => {
    range.max = chosen()[1].operations.length;
    range.value = range.max;
    draw();
  };
  problem.addEventListener("change", restart);
  arm.addEventListener("change", restart);
  range.addEventListener("input", draw);
  box.append(problem, arm, range, told, svg, verdicts);
  place.append(box);
  restart();
})();
