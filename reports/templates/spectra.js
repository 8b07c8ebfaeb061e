// Spectra over epochs behind a slider. Numbers only; every shape is made element by element.
"use strict";
(() => {
  const source = document.getElementById("slider-data");
  const place = document.getElementById("inside");
  if (!source || !place) return;
  const runs = JSON.parse(source.textContent).runs;
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 320, HEIGHT = 110;

  const element = (tag, attributes, text) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const shape = (tag, attributes) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const small = (value) => (value === null ? "–" : value.toPrecision(3));

  const box = element("div", { class: "slider" });
  const choice = element("select", { "aria-label": "Seed" });
  runs.forEach((run, index) => choice.append(element("option", { value: index }, run.name)));
  const range = element("input", { type: "range", min: 0, value: 0, "aria-label": "Snapshot" });
  const told = element("p", { class: "note", "aria-live": "polite" });
  const panels = element("div", { class: "panels" });
  const drawings = ["embedding", "readout"].map((name) => {
    const figure = element("figure");
    const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    figure.append(element("figcaption", {}, `Norms of the ${name} by frequency`), svg);
    panels.append(figure);
    return [name, svg];
  });

  const draw = () => {
    const run = runs[Number(choice.value)], at = Number(range.value);
    const losses = run.losses[at];
    told.textContent =
      `Epoch ${run.epochs[at].toLocaleString("en")}: train loss ${small(losses.train)}, ` +
      `test ${small(losses.test)}, restricted ${small(losses.restricted)}, ` +
      `excluded ${small(losses.excluded)}`;
    for (const [name, svg] of drawings) {
      const norms = run[name][at];
      const highest = Math.max(...run[name].flat());
      const step = WIDTH / norms.length;
      svg.setAttribute("aria-label", `${name} at epoch ${run.epochs[at]}`);
      svg.replaceChildren(
        ...norms.map((norm, index) => {
          const height = (HEIGHT - 4) * norm / highest;
          return shape("rect", {
            x: (index * step + 0.15 * step).toFixed(2), y: (HEIGHT - height).toFixed(2),
            width: (0.7 * step).toFixed(2), height: height.toFixed(2),
            fill: run.keys.includes(index + 1) ? "#0072b2" : "#8a939e",
          });
        }),
      );
    }
  };
  const restart = () => {
    range.max = runs[Number(choice.value)].epochs.length - 1;
    draw();
  };
  choice.addEventListener("change", restart);
  range.addEventListener("input", draw);
  box.append(element("h3", {}, "Snapshot by snapshot"), choice, range, told, panels);
  place.append(box);
  restart();
})();
