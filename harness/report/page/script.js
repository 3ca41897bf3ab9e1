"use strict";
// All text of the data becomes text nodes or attribute values; none is ever read as HTML.

const DATA = JSON.parse(document.getElementById("data").textContent);
const MISSING = -32768; // a score that is not there
const ROWS = 100, COLUMNS = 60, BARS = 40, NAMED = 25, QUERIES = 10; // shown at once
const SIZES = [
  ["any", () => true],
  ["under 100 M parameters", (n) => n !== null && n < 1e8],
  ["100 M to 1 B", (n) => n !== null && n >= 1e8 && n < 1e9],
  ["1 B and more", (n) => n !== null && n >= 1e9],
  ["not known", (n) => n === null],
];
const $ = (id) => document.getElementById(id);

// ---- values ----------------------------------------------------------------------------------

const unpack = (text) => text && new Int16Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
for (const task of DATA.tasks) for (const key of ["scores", "low", "high"]) task[key] = unpack(task[key]);
for (const set of DATA.queries) set.values = new Map(set.values.map(([s, text]) => [s, unpack(text)]));
const RECORDS = new Map(DATA.records.map((record) => [`${record.system}:${record.task}`, record]));

const value = (task, key, s) => {
  const packed = task[key] ? task[key][s] : MISSING;
  return packed === MISSING ? null : packed * task.unit;
};
const score = (s, t) => value(DATA.tasks[t], "scores", s);
/** A score the larger the better: low ones are good on some tasks. */
const merit = (s, t) => (score(s, t) === null ? null : DATA.tasks[t].sign * score(s, t));
/** What gives a mean of merits back its sign: low ones are good where they are on all tasks. */
const joint = (tasks) => (tasks.length && tasks.every((t) => DATA.tasks[t].sign < 0) ? -1 : 1);
const fixed = (number, digits = 4) => (number === null ? "–" : number.toFixed(digits));
const range = (low, high) => (low === null || high === null ? "" : `[${fixed(low)}, ${fixed(high)}]`);
const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
/** A name with its middle left out: the end of a path or a version tells most. */
const short = (name, most) => (name.length > most ? `${name.slice(0, Math.ceil(most * 0.4))}…${name.slice(-Math.floor(most * 0.6))}` : name);
const count = (number, noun) => `${number.toLocaleString("en")} ${number === 1 ? noun : `${noun}s`.replace(/ys$/, "ies")}`;
const large = (number) => {
  if (number === null) return "–";
  const [divisor, sign] = [[1e9, " G"], [1e6, " M"], [1e5, " k"]].find(([least]) => Math.abs(number) >= least) ?? [1, ""];
  const scaled = number / (sign === " k" ? 1e3 : divisor);
  return (Math.abs(scaled) >= 100 ? Math.round(scaled) : Number(scaled.toPrecision(3))).toLocaleString("en") + sign;
};
/** Order for numbers and texts, what is missing always last. */
const compare = (a, b, down) => {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
  return down ? -order : order;
};

// ---- elements --------------------------------------------------------------------------------

const make = (space) => (tag, attributes = {}, ...children) => {
  const node = space ? document.createElementNS(space, tag) : document.createElement(tag);
  for (const [name, given] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), given);
    else if (given !== null && given !== false) node.setAttribute(name, given === true ? "" : given);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null));
  return node;
};
const el = make(null);
const svg = make("http://www.w3.org/2000/svg");

const options = (select, pairs, chosen) =>
  select.replaceChildren(...pairs.map(([key, text]) => el("option", { value: key, selected: String(key) === String(chosen) }, text)));

const table = ({ header, rows, numeric = [] }) => [
  header.some(Boolean) ? el("thead", {}, el("tr", {}, header.map((text, i) => el("th", { scope: "col", class: numeric.includes(i) && "number" }, text)))) : null,
  el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, i) => el("td", { class: numeric.includes(i) && "number" }, cell))))),
].filter(Boolean);

// ---- what is shown ---------------------------------------------------------------------------

const state = {
  sort: "place", down: false, row: 0, column: 0, task: 0, cost: 0, quality: "shown",
  one: null, other: null, queryTask: null, wide: false, cell: null,
};

/** Systems and tasks that the filters leave, systems in the order chosen, and their means. */
function view() {
  const [models, tasks] = ["model-text", "task-text"].map((id) => $(id).value.trim().toLowerCase());
  const families = new Set([...document.querySelectorAll("#families input:checked")].map((box) => box.value));
  const fits = SIZES[Number($("size").value)][1];
  let systems = DATA.systems.map((_, s) => s).filter((s) =>
    DATA.systems[s].name.toLowerCase().includes(models) && fits(DATA.systems[s].parameters));
  let columns = DATA.tasks.map((_, t) => t).filter((t) =>
    families.has(DATA.tasks[t].family) && DATA.tasks[t].name.toLowerCase().includes(tasks));
  if ($("common").checked) columns = columns.filter((t) => systems.every((s) => score(s, t) !== null));
  const means = new Map(), has = new Map();
  for (const s of systems) {
    const own = columns.map((t) => merit(s, t)).filter((number) => number !== null);
    has.set(s, own.length);
    means.set(s, own.length && own.length === columns.length ? joint(columns) * mean(own) : null);
  }
  const filtered = columns.length < DATA.tasks.length;
  if (state.sort === "mean" && !filtered) Object.assign(state, { sort: "place", down: false });
  const sorted = sortKey(means);
  systems.sort((a, b) => compare(sorted(a), sorted(b), state.down) || a - b);
  return { systems, columns, means, has, filtered };
}

function sortKey(means) {
  const [kind, index] = state.sort.split(":");
  if (kind === "name") return (s) => DATA.systems[s].name;
  if (kind === "mean") return (s) => means.get(s);
  if (kind === "task") return (s) => score(s, Number(index));
  if (kind === "column") return (s) => first(DATA.systems[s].values[Number(index)]);
  return (s) => s; // the order of the standings
}
const first = (given) => (Array.isArray(given) ? given[0] : given);

function sortBy(key, down) {
  state.down = state.sort === key ? !state.down : down;
  state.sort = key;
  state.row = 0;
  render();
}

const sortable = (key, title, down, { numeric = true, about = "", ...more } = {}) =>
  el("th", {
    scope: "col", class: numeric ? "number wrap" : null, title: about || null, ...more,
    "aria-sort": state.sort === key ? (state.down ? "descending" : "ascending") : null,
  }, el("button", { type: "button", "data-key": `sort ${key}`, onclick: () => sortBy(key, down) }, title));

/** Draw everything again; what had the focus keeps it. */
function render() {
  const focus = document.activeElement?.dataset?.key;
  const shown = view();
  const page = { ...shown, rows: shown.systems.slice(state.row, state.row + ROWS) };
  $("shown").value = `${count(shown.systems.length, "system")}, ${count(shown.columns.length, "task")}`;
  standings(page);
  heat(page);
  bars(shown);
  cost(shown);
  const again = focus && document.querySelector(`[data-key="${CSS.escape(focus)}"]`);
  if (again) again.focus({ preventScroll: true });
}

function pager(node, key, total, size, noun) {
  const move = (by) => el("button", {
    type: "button", "data-key": `${key} ${by}`,
    disabled: by < 0 ? state[key] === 0 : state[key] + size >= total,
    onclick: () => { state[key] += by * size; render(); },
  }, by < 0 ? `Previous ${noun}s` : `Next ${noun}s`);
  const last = Math.min(total, state[key] + size);
  node.replaceChildren(...(total > size ? [move(-1), move(1), `${state[key] + 1} to ${last} of ${count(total, noun)}`] : []));
}

// ---- standings -------------------------------------------------------------------------------

function standings({ systems, columns, rows, means, has, filtered }) {
  const cell = (column, given) =>
    el("td", { class: typeof given === "string" ? "number long" : "number", title: typeof given === "string" && given }, Array.isArray(given) ? range(...given) : typeof given === "string" ? given : fixed(given, column.digits));
  $("standings-table").replaceChildren(
    el("thead", {}, el("tr", {},
      sortable("name", "System", false, { numeric: false, class: "corner" }),
      filtered ? sortable("mean", "Shown tasks", joint(columns) > 0, { about: "mean over the tasks that the filters leave" }) : null,
      DATA.columns.map((column, i) => sortable(`column:${i}`, column.title, column.down, { about: column.about })))),
    el("tbody", {}, rows.map((s) => el("tr", { class: has.get(s) < columns.length ? "partial" : null },
      el("th", { scope: "row", title: DATA.systems[s].name },
        el("button", { type: "button", "data-key": `system ${s}`, onclick: () => openSystem(s) }, DATA.systems[s].name),
        has.get(s) < columns.length ? [" ", el("span", { class: "badge" }, `${has.get(s)} of ${count(columns.length, "task")}`)] : null),
      filtered ? el("td", { class: "number" }, fixed(means.get(s), 3)) : null,
      DATA.columns.map((column, i) => cell(column, DATA.systems[s].values[i]))))));
  pager($("rows-pager"), "row", systems.length, ROWS, "system");
}

// ---- heat map --------------------------------------------------------------------------------

function heat({ systems, columns, rows }) {
  state.column = Math.min(state.column, Math.max(0, Math.ceil(columns.length / COLUMNS) - 1) * COLUMNS);
  const shown = columns.slice(state.column, state.column + COLUMNS);
  const extent = (tasks) => { // the worst 5% are alike, so that one of them does not hide the rest
    const all = tasks.flatMap((t) => systems.map((s) => merit(s, t)).filter((number) => number !== null)).sort((a, b) => a - b);
    return [all[Math.floor(all.length * 0.05)], all.at(-1)];
  };
  const whole = $("shade").value === "all" ? extent(shown) : null;
  const extents = new Map(shown.map((t) => [t, whole ?? extent([t])]));
  const runs = []; // neighbours of one family share a heading
  for (const t of shown) {
    const family = DATA.tasks[t].family;
    if (runs.at(-1)?.family === family) runs.at(-1).span += 1;
    else runs.push({ family, span: 1 });
  }
  if (!rows.includes(state.cell?.[0]) || !shown.includes(state.cell?.[1])) state.cell = [rows[0], shown[0]];
  $("heat").replaceChildren(
    el("thead", {},
      el("tr", {}, el("td", {}), runs.map(({ family, span }) => el("th", { class: "family", style: "height:auto", scope: "colgroup", colspan: span }, family))),
      el("tr", {}, sortable("name", "System", false, { numeric: false, class: "corner" }),
        shown.map((t) => sortable(`task:${t}`, short(DATA.tasks[t].name, 24), DATA.tasks[t].sign > 0, { numeric: false, about: `${DATA.tasks[t].name}, ${DATA.tasks[t].measure}` })))),
    el("tbody", {}, rows.map((s) => el("tr", {},
      el("th", { scope: "row", title: DATA.systems[s].name }, DATA.systems[s].name),
      shown.map((t) => {
        const number = score(s, t), [low, high] = extents.get(t);
        const cell = el("td", {
          class: number === null ? "none" : null, "data-key": `cell ${s} ${t}`,
          tabindex: s === state.cell[0] && t === state.cell[1] ? 0 : -1,
          "aria-label": number === null ? "no score" : null,
        }, number === null ? "–" : fixed(number, 3));
        if (number !== null) cell.style.setProperty("--v", (high > low ? Math.max(0, merit(s, t) - low) / (high - low) : 0.5).toFixed(3));
        return cell;
      })))));
  pager($("columns-pager"), "column", columns.length, COLUMNS, "task");
}

const cellOf = (node) => node.closest("td[data-key]")?.dataset.key.split(" ").slice(1).map(Number);
$("heat").addEventListener("click", (event) => {
  const at = cellOf(event.target);
  if (at) openRecord(...at);
});
$("heat").addEventListener("keydown", (event) => {
  const cell = event.target.closest("td[data-key]");
  if (!cell) return;
  const row = cell.parentElement, column = cell.cellIndex;
  const next = {
    ArrowLeft: cell.previousElementSibling, ArrowRight: cell.nextElementSibling,
    ArrowUp: row.previousElementSibling?.cells[column], ArrowDown: row.nextElementSibling?.cells[column],
    Home: row.cells[1], End: row.cells[row.cells.length - 1],
  }[event.key];
  if (event.key === "Enter" || event.key === " ") openRecord(...cellOf(cell));
  else if (!next?.dataset.key) return;
  else {
    cell.tabIndex = -1;
    next.tabIndex = 0;
    state.cell = cellOf(next);
    next.focus();
  }
  event.preventDefault();
});

// ---- one task --------------------------------------------------------------------------------

/** Round numbers that divide [low, high]. */
function ticks(low, high, wanted = 5) {
  const rough = (high - low) / wanted || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) found.push(Number(at.toPrecision(12)));
  return found;
}

function bars({ systems, columns }) {
  if (!columns.includes(state.task)) state.task = columns[0] ?? 0;
  options($("task-choice"), columns.map((t) => [t, DATA.tasks[t].name]), state.task);
  const task = DATA.tasks[state.task];
  const scored = systems.filter((s) => columns.length && score(s, state.task) !== null)
    .sort((a, b) => merit(b, state.task) - merit(a, state.task));
  if (!scored.length) { $("bars").replaceChildren(el("li", {}, "No score to show.")); $("task-about").textContent = ""; return; }
  const known = scored.flatMap((s) => ["scores", "low", "high"].map((key) => value(task, key, s))).filter((x) => x !== null);
  const low = Math.min(0, ...known), high = Math.max(low + 1e-9, ...known);
  const at = (number) => (100 * (number - low)) / (high - low);
  const shown = state.wide ? scored : scored.slice(0, BARS);
  $("task-about").textContent = `${task.family}, ${task.measure}` + (task.sign < 0 ? ", low is good" : "") + (task.low ? "; lines are 95% intervals" : "; no intervals known");
  const rows = shown.map((s) => {
    const [number, from, to] = ["scores", "low", "high"].map((key) => value(task, key, s));
    return el("li", {},
      el("button", { type: "button", class: "link name", title: DATA.systems[s].name, "data-key": `bar ${s}`, onclick: () => openRecord(s, state.task) }, DATA.systems[s].name),
      svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
        svg("rect", { class: "bar", x: Math.min(at(0), at(number)), y: 1.5, width: Math.abs(at(number) - at(0)), height: 7 }),
        from === null || to === null ? null : svg("path", { class: "whisker", d: `M${at(from)} 5H${at(to)}M${at(from)} 2.5V7.5M${at(to)} 2.5V7.5` })),
      el("span", { class: "value" }, fixed(number), " ", el("span", { class: "quiet" }, range(from, to))));
  });
  const axis = el("li", { "aria-hidden": "true" }, el("span", {}),
    el("span", { class: "axis" }, ticks(low, high).map((tick) => el("span", { style: `left:${at(tick)}%` }, String(tick)))), el("span", {}));
  const more = scored.length > BARS ? el("li", {}, el("button", { type: "button", "data-key": "wide", onclick: () => { state.wide = !state.wide; render(); } },
    state.wide ? `Show the best ${BARS}` : `Show all ${scored.length}`)) : null;
  $("bars").replaceChildren(...[...rows, axis, more].filter(Boolean));
}

// ---- quality and cost ------------------------------------------------------------------------

function cost({ systems, columns, means }) {
  if (!DATA.costs.length) { $("scatter").replaceChildren("The records hold no costs."); return; }
  options($("quality-choice"), [["shown", "mean over shown tasks"], ...columns.map((t) => [t, DATA.tasks[t].name])], state.quality);
  if (state.quality !== "shown" && !columns.includes(Number(state.quality))) state.quality = "shown";
  const axis = DATA.costs[state.cost], sign = axis.less ? 1 : -1;
  const quality = (s) => (state.quality === "shown" ? means.get(s) : score(s, Number(state.quality)));
  const up = joint(state.quality === "shown" ? columns : [Number(state.quality)]); // -1: low is good
  const points = systems.map((s) => ({ s, x: DATA.systems[s].costs[state.cost], y: quality(s) }))
    .filter(({ x, y }) => x !== null && y !== null);
  for (const point of points) {
    const rivals = points.filter(({ x }) => sign * x <= sign * point.x);
    point.gap = Math.max(...rivals.map(({ y }) => up * y)) - up * point.y; // what the best does at no greater cost
    point.best = point.gap === 0 && !rivals.some(({ x, y }) => y === point.y && x !== point.x);
  }
  $("cost-about").textContent = points.length
    ? `${count(points.length, "system")} with both known. Filled: on the Pareto front, none has a better mean or score at no greater cost; no test is made.`
    : "No shown system has both known. A mean needs every shown task: leave only tasks that all shown systems have, or choose one task.";
  $("scatter").replaceChildren(...(points.length ? [scatter(points, axis)] : []));
  points.sort((a, b) => up * (b.y - a.y));
  $("front").replaceChildren(...(points.length ? table({
    header: ["System", axis.title, "Quality", "Below the front"],
    rows: points.slice(0, ROWS).map(({ s, x, y, gap, best }) => [DATA.systems[s].name, large(x), fixed(y), best ? "on it" : fixed(gap)]),
    numeric: [1, 2, 3],
  }) : []));
}

function scatter(points, axis) {
  const width = Math.max(300, Math.min(960, $("scatter").clientWidth || 960)), height = 380;
  const [left, right, top, bottom] = [48, 16, 12, 44];
  const xs = points.map(({ x }) => x), ys = points.map(({ y }) => y);
  const log = Math.min(...xs) > 0 && Math.max(...xs) / Math.min(...xs) > 8;
  const scaled = log ? Math.log10 : (x) => x;
  const [x0, x1] = padded(scaled(Math.min(...xs)), scaled(Math.max(...xs)));
  const [y0, y1] = padded(Math.min(...ys), Math.max(...ys));
  const px = (x) => left + ((scaled(x) - x0) / (x1 - x0)) * (width - left - right);
  const py = (y) => height - bottom - ((y - y0) / (y1 - y0)) * (height - top - bottom);
  const xTicks = log
    ? [...Array(Math.ceil(x1) - Math.floor(x0) + 1).keys()].map((i) => 10 ** (Math.floor(x0) + i)).flatMap((p) => (x1 - x0 < 2 ? [p, 2 * p, 5 * p] : [p])).filter((x) => scaled(x) >= x0 && scaled(x) <= x1)
    : ticks(x0, x1);
  const front = points.filter(({ best }) => best).sort((a, b) => a.x - b.x);
  const steps = front.map(({ x, y }, i) => {
    if (!i) return `M${px(x)} ${py(y)}`;
    return axis.less ? `H${px(x)}V${py(y)}` : `V${py(y)}H${px(x)}`;
  }).join("");
  const taken = (points.length > NAMED ? front : points).map(({ x, y }) => [px(x) - 5, py(y) - 5, px(x) + 5, py(y) + 5]);
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": `Quality against ${axis.title}; the same numbers stand in the table below` },
    ticks(y0, y1).map((y) => [svg("path", { class: "rule", d: `M${left} ${py(y)}H${width - right}` }),
      svg("text", { class: "soft", x: left - 6, y: py(y) + 4, "text-anchor": "end" }, String(y))]).flat(),
    xTicks.map((x) => svg("text", { class: "soft", x: px(x), y: height - bottom + 18, "text-anchor": "middle" }, large(x))),
    svg("text", { x: width - right, y: height - 6, "text-anchor": "end" }, `${axis.title}${axis.less ? " (less is better)" : " (more is better)"}${log ? ", logarithmic" : ""}`),
    svg("path", { class: "front", d: steps }),
    [...points].sort((a, b) => a.best - b.best || a.y - b.y).map((point) => {
      const { s, x, y, best } = point, name = DATA.systems[s].name;
      const act = () => openSystem(s);
      return svg("g", { role: "button", tabindex: 0, "data-key": `point ${s}`, onclick: act,
        onkeydown: (event) => { if (event.key === "Enter") act(); },
        "aria-label": `${name}: quality ${fixed(y)}, ${axis.title} ${large(x)}${best ? ", on the Pareto front" : ""}` },
      svg("title", {}, `${name}\n${fixed(y)}, ${large(x)}`),
      svg("circle", { class: best ? "point best" : "point", cx: px(x), cy: py(y), r: 4.5 }),
      best || points.length <= NAMED ? label(name, px(x), py(y), width, taken) : null);
    }));
}

const padded = (low, high) => {
  const by = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - by, high + by];
};

/** A name beside its point where there is room for it. */
function label(name, x, y, width, taken) {
  const text = short(name, 28), long = text.length * 7.4;
  for (const [from, dy] of [[x + 8, 4], [x - 8 - long, 4], [x - long / 2, -9], [x - long / 2, 17]]) {
    const box = [from, y + dy - 10, from + long, y + dy + 2];
    const free = from > 50 && box[2] < width && box[1] > 0 &&
      taken.every((other) => box[2] < other[0] || other[2] < box[0] || box[3] < other[1] || other[3] < box[1]);
    if (free) {
      taken.push(box);
      return svg("text", { x: from, y: y + dy }, text);
    }
  }
  return null;
}

// ---- two systems ------------------------------------------------------------------------------

function differences() {
  const sets = DATA.queries;
  if (!sets.length) {
    $("differences").replaceChildren(el("p", {}, "No scores of single queries are in this page."));
    for (const id of ["one", "other", "query-task"]) $(id).closest("label").hidden = true;
    return;
  }
  const set = sets.find(({ task }) => task === state.queryTask) ?? sets[0];
  const have = [...set.values.keys()].sort((a, b) => a - b);
  if (!have.includes(state.one)) state.one = have[0];
  if (!have.includes(state.other) || state.other === state.one) state.other = have.find((s) => s !== state.one) ?? state.one;
  state.queryTask = set.task;
  const pairs = have.map((s) => [s, DATA.systems[s].name]);
  options($("query-task"), sets.map(({ task }) => [task, DATA.tasks[task].name]), set.task);
  options($("one"), pairs, state.one);
  options($("other"), pairs, state.other);
  const [a, b] = [set.values.get(state.one), set.values.get(state.other)], up = DATA.tasks[set.task].sign;
  const rows = [...a.keys()].filter((i) => a[i] !== MISSING && b[i] !== MISSING);
  const by = (i) => (a[i] - b[i]) * set.unit;
  const better = rows.filter((i) => up * by(i) > 0).sort((i, j) => up * (by(j) - by(i)) || i - j);
  const worse = rows.filter((i) => up * by(i) < 0).sort((i, j) => up * (by(i) - by(j)) || i - j);
  const [one, other] = [state.one, state.other].map((s) => DATA.systems[s].name);
  const listed = (found, title) => el("div", {}, el("h3", {}, title), found.length
    ? el("div", { class: "scroll" }, el("table", {}, el("caption", { hidden: true }, title),
      el("thead", {}, el("tr", {}, ["Query", "A", "B", "Difference"].map((text, i) => el("th", { scope: "col", class: i ? "number" : null }, text)))),
      el("tbody", {}, found.slice(0, QUERIES).map((i) => el("tr", {},
        el("td", { class: "text" }, set.texts[i] ?? "", set.texts[i] ? " " : "", el("span", { class: "quiet" }, set.ids[i])),
        el("td", { class: "number" }, fixed(a[i] * set.unit, 3)),
        el("td", { class: "number" }, fixed(b[i] * set.unit, 3)),
        el("td", { class: "number" }, (by(i) > 0 ? "+" : "") + fixed(by(i), 3)))))))
    : el("p", {}, "None."));
  $("differences").replaceChildren(
    el("p", {}, `${DATA.tasks[set.task].measure} of ${count(rows.length, "query")}: A is better in ${better.length}, `
      + `B in ${worse.length}, equal in ${rows.length - better.length - worse.length}; `
      + `mean difference ${fixed(rows.length ? mean(rows.map(by)) : null)}.`),
    curve(rows.map((i) => up * by(i)).sort((x, y) => y - x)),
    el("div", { class: "pair" },
      listed(better, `Where A, ${one}, beats B most`), listed(worse, `Where B, ${other}, beats A most`)));
}

/** By how much A is better on each query, the most first. */
function curve(values) {
  const width = Math.max(300, Math.min(960, $("differences").clientWidth || 960)), height = 120, most = Math.max(1e-9, ...values.map(Math.abs));
  const px = (i) => (i / values.length) * width, py = (x) => height / 2 - (x / most) * (height / 2 - 14);
  const area = (kept) => values.map((x, i) => (kept(x) ? `M${px(i)} ${height / 2}V${py(x)}H${px(i + 1)}V${height / 2}Z` : "")).join("");
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Differences of ${count(values.length, "query")}, from ${fixed(values[0] ?? 0)} to ${fixed(values.at(-1) ?? 0)}` },
    svg("path", { class: "up", d: area((x) => x > 0) }), svg("path", { class: "down", d: area((x) => x < 0) }),
    svg("path", { class: "rule", d: `M0 ${height / 2}H${width}` }),
    svg("text", { x: 4, y: 10 }, values[0] > 0 ? `A better, up to +${fixed(values[0], 2)}` : ""),
    svg("text", { x: width - 4, y: height - 2, "text-anchor": "end" }, values.at(-1) < 0 ? `B better, up to ${fixed(-values.at(-1), 2)}` : ""));
}

// ---- drill-down ------------------------------------------------------------------------------

function show(title, ...body) {
  $("record-title").textContent = title;
  $("record-body").replaceChildren(...body.flat(Infinity).filter(Boolean));
  if (!$("record").open) $("record").showModal();
  $("record").scrollTop = 0;
}

function openRecord(s, t) {
  const task = DATA.tasks[t], own = score(s, t);
  if (own === null) return;
  const record = RECORDS.get(`${s}:${t}`);
  const better = DATA.systems.filter((_, other) => score(other, t) !== null && merit(other, t) > merit(s, t)).length;
  const together = DATA.queries.find((set) => set.task === t && set.values.has(s) && set.values.size > 1);
  show(`${DATA.systems[s].name} on ${task.name}`,
    el("p", {}, el("strong", {}, `${task.measure} ${fixed(own)}`), ` ${range(value(task, "low", s), value(task, "high", s))}`.trimEnd(),
      `, place ${better + 1} of ${DATA.systems.filter((_, other) => score(other, t) !== null).length}`),
    record ? [el("p", { class: "quiet" }, "Record: ", el("a", { href: record.path.split("/").map(encodeURIComponent).join("/") }, record.path)),
      record.tables.map((part) => [el("h3", {}, part.title), el("table", {}, ...table(part))])]
      : el("p", {}, "Its record is not in this page."),
    el("p", { class: "quiet" }, `Conditions ${task.conditions}: data, measure and protocol. Only scores under the same can be compared.`),
    together ? el("p", {}, el("button", { type: "button", onclick: () => {
      Object.assign(state, { one: s, other: null, queryTask: t });
      $("record").close();
      differences();
      $("queries").scrollIntoView();
      $("one").focus({ preventScroll: true });
    } }, "Query by query against another system")) : null);
}

function openSystem(s) {
  const system = DATA.systems[s];
  const known = DATA.tasks.map((_, t) => t).filter((t) => score(s, t) !== null);
  show(system.name,
    el("p", {}, `${known.length} of ${count(DATA.tasks.length, "task")}`),
    el("h3", {}, "Cost"), el("table", {}, ...table({ header: ["", ""], rows: DATA.costs.map((axis, i) => [axis.title, large(system.costs[i])]), numeric: [1] })),
    el("h3", {}, "Scores"), el("table", {},
      el("thead", {}, el("tr", {}, ["Task", "Measure", "Score", "95% interval"].map((text, i) => el("th", { scope: "col", class: i > 1 && "number" }, text)))),
      el("tbody", {}, known.map((t) => el("tr", {},
        el("td", {}, el("button", { type: "button", class: "link", onclick: () => openRecord(s, t) }, DATA.tasks[t].name)),
        el("td", {}, DATA.tasks[t].measure), el("td", { class: "number" }, fixed(score(s, t))),
        el("td", { class: "number" }, range(value(DATA.tasks[t], "low", s), value(DATA.tasks[t], "high", s))))))));
}

// ---- begin -----------------------------------------------------------------------------------

function start() {
  const families = [...new Set(DATA.tasks.map((task) => task.family))];
  $("summary").textContent = `${count(DATA.systems.length, "system")}, ${count(DATA.tasks.length, "task")} of ${count(families.length, "family")}.`;
  $("ranked").textContent = DATA.ranked;
  $("families").replaceChildren(...families.map((name) => el("label", {}, el("input", { type: "checkbox", value: name, checked: true }), ` ${name}`)));
  options($("size"), SIZES.map(([text], i) => [i, text]), 0);
  options($("cost-choice"), DATA.costs.map((axis, i) => [i, axis.title]), 0);
  $("figure-list").replaceChildren(...DATA.figures.map(({ title, svg: image }) =>
    el("figure", {}, el("img", { src: `data:image/svg+xml;base64,${image}`, alt: title }), el("figcaption", { class: "hint" }, title))));
  $("figures").hidden = !DATA.figures.length;
  document.querySelector('nav a[href="#figures"]').hidden = !DATA.figures.length;
  if (DATA.notes.length) $("notes").replaceChildren(el("h2", {}, "Notes"), el("ul", {}, DATA.notes.map((note) => el("li", {}, note))));

  const restart = () => { state.row = state.column = 0; render(); };
  $("filters").addEventListener("input", restart);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("clear").addEventListener("click", () => { $("filters").reset(); restart(); });
  const bind = (id, key, draw, read = Number) => $(id).addEventListener("change", (event) => { state[key] = read(event.target.value); draw(); });
  bind("shade", "shade", render, String);
  bind("task-choice", "task", render);
  bind("cost-choice", "cost", render);
  bind("quality-choice", "quality", render, String);
  bind("one", "one", differences);
  bind("other", "other", differences);
  bind("query-task", "queryTask", differences);
  const themes = ["system", "light", "dark"];
  $("theme").addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % 3];
    document.documentElement.dataset.theme = next;
    $("theme").textContent = `Theme: ${next}`;
  });
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; render(); differences(); } });
  const scored = DATA.tasks.map((task) => task.scores.filter((packed) => packed !== MISSING).length);
  state.task = scored.indexOf(Math.max(...scored));
  if (!DATA.systems.some((_, s) => DATA.tasks.every((_, t) => score(s, t) !== null))) state.quality = state.task;
  render();
  differences();
}

start();
