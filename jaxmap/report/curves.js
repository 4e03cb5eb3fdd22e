// The curves of classes under the cursor, and a box that filters all tables and curves by class. A row of the table of
// classes holds its curve in `data-curve`: recall, precision and score of each point, of runs of equal points the ends.
"use strict";

const MOST_DRAWN = 30; // curves of matching classes
const MOST_NAMED = 12; // of them below the plot
const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"]; // Okabe and Ito, as in the plots
const shown = (value) => (Number.isNaN(value) ? "–" : String(Number(value.toPrecision(4))));

function curveOf(row) {
  const numbers = row.dataset.curve.split(" ").map(Number);
  const points = [];
  for (let place = 0; place < numbers.length; place += 3) {
    points.push({ recall: numbers[place], precision: numbers[place + 1], score: numbers[place + 2] });
  }
  return { name: row.cells[0].textContent, row, points };
}

// The best precision at or above a recall, and the score there; undefined beyond the last point.
const pointAt = (curve, recall) => curve.points.find((point) => point.recall >= recall - 1e-9);

function svgElement(tag, parent, attributes = {}) {
  const element = document.createElementNS(parent.namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent.append(element);
  return element;
}

// Returns what the filter and the links need: `choose(curves)` and `mark(curve)`.
function exploreCurves(figure, curves) {
  const svg = figure.querySelector("svg");
  const [left, bottom, right, top] = figure.dataset.frame.split(" ").map(Number); // of recall 0 and 1, precision 0 and 1
  const x = (recall) => left + recall * (right - left);
  const y = (precision) => bottom + precision * (top - bottom);
  const overlay = svgElement("g", svg, { class: "overlay" });
  const chosenLines = svgElement("g", overlay);
  const line = svgElement("path", overlay, { class: "marked" });
  const dot = svgElement("circle", overlay, { class: "marked", r: 3.5, visibility: "hidden" });
  const readout = document.createElement("output");
  readout.textContent = "Point at the curves to read them; click to see the row of the class.";
  svg.after(readout);
  let active = curves;
  let marked = null;

  const path = ({ points }) => "M" + points.map((one) => `${x(one.recall).toFixed(2)} ${y(one.precision).toFixed(2)}`).join("L");

  function mark(curve, recall) {
    marked = curve;
    line.setAttribute("d", path(curve));
    const point = recall === undefined ? null : pointAt(curve, recall);
    dot.setAttribute("visibility", point ? "visible" : "hidden");
    readout.textContent = curve.name;
    if (!point) return;
    dot.setAttribute("cx", x(recall));
    dot.setAttribute("cy", y(point.precision));
    const score = point.precision > 0 ? `score from ${shown(point.score)}` : "no detection reaches this recall";
    readout.textContent += `: recall ${recall.toFixed(2)}, precision ${shown(point.precision)}, ${score}`;
  }

  function choose(matching) {
    active = matching ?? curves;
    figure.classList.toggle("filtered", matching !== null);
    chosenLines.replaceChildren();
    line.removeAttribute("d");
    dot.setAttribute("visibility", "hidden");
    marked = null;
    if (matching === null) return;
    matching.slice(0, MOST_DRAWN).forEach((curve, place) => {
      svgElement("path", chosenLines, { d: path(curve), stroke: COLOURS[place % COLOURS.length] });
    });
    const names = matching.slice(0, MOST_NAMED).map((curve, place) => {
      const name = document.createElement("span");
      name.style.borderColor = COLOURS[place % COLOURS.length];
      name.textContent = curve.name;
      return name;
    });
    const drawn = matching.length > MOST_DRAWN ? `, ${MOST_DRAWN} of them drawn` : "";
    const more = matching.length > MOST_NAMED ? `and ${matching.length - MOST_NAMED} more${drawn}` : "";
    readout.replaceChildren(...(matching.length ? names : ["No class with a curve matches."]), more);
  }

  function hover(event) {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const recall = (place.x - left) / (right - left);
    const precision = (place.y - bottom) / (top - bottom);
    if (recall < 0 || recall > 1 || precision < -0.05 || precision > 1.05) return;
    let nearest = null;
    let least = Infinity;
    for (const curve of active) {
      const distance = Math.abs((pointAt(curve, recall)?.precision ?? Infinity) - precision);
      if (distance < least) [nearest, least] = [curve, distance];
    }
    if (nearest) mark(nearest, Math.round(recall * 1000) / 1000);
  }

  svg.addEventListener("pointermove", hover);
  svg.addEventListener("pointerdown", hover);
  svg.addEventListener("click", () => {
    if (marked) location.hash = marked.row.id;
  });
  return { choose, mark };
}

// Hides the rows of other classes in all tables while there is a query, and passes the matching classes on.
function offerFilter(names, choose) {
  const rows = [...document.querySelectorAll("tbody tr")].flatMap((row) => {
    const id = row.id.startsWith("class-") ? row.id : row.querySelector('a[href^="#class-"]')?.hash.slice(1);
    return names.has(id) ? [{ row, name: names.get(id) }] : [];
  });
  const counted = (some) => new Set(some).size.toLocaleString("en"); // a comparison has a class once for each detector
  const total = counted(names.values());
  const box = document.createElement("label");
  box.className = "filter";
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = `one of ${total}`;
  const count = document.createElement("output");
  box.append("Show classes with ", input, count);
  document.querySelector("header").after(box);

  function apply() {
    const query = input.value.trim().toLowerCase();
    for (const { row, name } of rows) row.hidden = !name.includes(query);
    const matching = new Map([...names].filter(([, name]) => name.includes(query)));
    count.textContent = query ? ` ${counted(matching.values())} of ${total}` : "";
    choose(query ? matching : null);
  }
  input.addEventListener("input", apply);
  if (input.value) apply(); // what the browser kept when the page was loaded again
}

{
  const rows = [...document.querySelectorAll('#classes tr[id^="class-"]')];
  const figure = document.querySelector("figure[data-frame]");
  const curves = figure ? rows.filter((row) => row.dataset.curve).map(curveOf) : [];
  const plot = curves.length ? exploreCurves(figure, curves) : null;
  for (const curve of curves) curve.row.cells[0].querySelector("a")?.addEventListener("click", () => plot.mark(curve));
  const names = new Map(rows.map((row) => [row.id, row.cells[0].textContent.toLowerCase()]));
  const choose = (ids) => plot?.choose(ids && curves.filter(({ row }) => ids.has(row.id)));
  if (names.size > 1) offerFilter(names, choose);
}
