"use strict";
// The page of a run. Everything from a candidate or a model is set as text, never as markup.
(async () => {
  const $ = (id) => document.getElementById(id);
  const RANKS = ["#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725"];
  const KINDS = ["#0969da", "#bf8700", "#1a7f37", "#bc4c00", "#8250df", "#0e7c86", "#cf222e", "#6e7781"];
  const SHORT = 8;
  let facts, index, order, children, layout, selected = -1;

  // ------------------------------------------------------------ data

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return JSON.parse(await new Response(stream).text());
  }

  const embedded = {
    live: false,
    facts: () => unpack($("facts").textContent),
    kept: new Map(),
    async detail(i) {
      const size = Number($("facts").dataset.chunk), chunk = Math.floor(i / size);
      if (!this.kept.has(chunk)) this.kept.set(chunk, await unpack($("chunk-" + chunk).textContent));
      return this.kept.get(chunk)[i % size];
    },
  };

  const served = {
    live: true,
    version: null,
    async facts() {
      const answer = await fetch("facts" + (this.version === null ? "" : "?since=" + encodeURIComponent(this.version)));
      if (answer.status === 204) return null;
      if (!answer.ok) throw new Error("the server answered " + answer.status);
      const found = await answer.json();
      this.version = found.version;
      return found;
    },
    async detail(i) {
      const answer = await fetch("node/" + encodeURIComponent(facts.nodes.id[i]));
      if (!answer.ok) throw new Error("the server answered " + answer.status);
      return answer.json();
    },
  };
  const source = $("facts") ? embedded : served;

  // ------------------------------------------------------------ text

  const number = (value, digits = 4) => value === null || value === undefined ? "–" : Math.abs(value) >= 1e5 || Number.isInteger(value) ? value.toLocaleString("en") : value.toPrecision(Math.max(digits, Math.ceil(Math.log10(Math.abs(value) || 1)) + 3)).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
  const cut = (text, most) => text.length <= most ? text : `${text.slice(0, most - 1).replace(/[\d.,+-]*$/, "")}…`; // never within a number
  const signed = (value) => value === null || value === undefined ? "–" : (value > 0 ? "+" : "") + number(value, 3);
  const short = (i) => facts.nodes.id[i].slice(0, SHORT);

  function element(name, text, kind) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  function link(i) {
    const made = element("button", short(i), "id");
    made.type = "button";
    made.title = facts.nodes.idea[i];
    made.addEventListener("click", () => { select(i); bringIntoView(i); });
    return made;
  }

  function table(rows, names) {
    if (!rows.length) return element("p", "none", "quiet");
    const made = element("table"), head = made.createTHead().insertRow(), body = made.createTBody();
    const columns = names || Object.keys(rows[0]);
    const numeric = new Set(columns.filter((name) => rows.every((row) => row[name] === null || typeof row[name] === "number")));
    for (const name of columns) head.append(element("th", name.replaceAll("_", " "), numeric.has(name) ? "n" : ""));
    for (const row of rows) {
      const line = body.insertRow();
      for (const name of columns) {
        const value = row[name], isNode = value instanceof Node;
        const cell = element("td", isNode ? undefined : typeof value === "number" ? number(value) : value ?? "–", numeric.has(name) ? "n" : "");
        if (isNode) cell.append(value);
        line.append(cell);
      }
    }
    return made;
  }

  function put(id, ...parts) { $(id).replaceChildren(...parts); }

  // ------------------------------------------------------------ the page around the plots

  function describe() {
    const run = facts.run, v = facts.verdict, nodes = facts.nodes;
    $("title").textContent = `Run ${run.run}: ${run.task}, ${run.metric} (${run.direction})`;
    document.title = `${run.run} · Treewright`;
    put("outcome");
    if (v) $("outcome").append(element("span", v.kind === "champion" ? "Champion " : "No champion. ", v.kind === "champion" ? "good" : "bad"));
    const best = v ? index.get(v.node) : run.leader === null ? undefined : index.get(run.leader);
    if (v && v.kind === "champion" && best !== undefined) $("outcome").append(link(best), " ");
    $("outcome").append(v ? v.reason : best === undefined ? "No score yet." : "No verdict yet. The leader's screening score may be luck: ");
    if (!v && best !== undefined) $("outcome").append(link(best), ` ${number(nodes.score[best])} ${run.unit}`);
    const dollars = facts.spending.reduce((sum, row) => sum + (row.dollars || 0), 0);
    const unpriced = facts.spending.reduce((sum, row) => sum + row.unpriced_calls, 0);
    const hours = facts.spending.reduce((sum, row) => sum + row.wall_hours, 0);
    $("summary").textContent = [
      `${nodes.id.length.toLocaleString("en")} candidates, ${run.evaluations.toLocaleString("en")} evaluations, ${number(hours, 3)} device hours`,
      `$${dollars.toFixed(2)}${unpriced ? ` and ${unpriced} calls of unknown price` : ""}`,
      `scores: ${run.conditions.trust || "none"}`, run.conditions.hardware || "",
      facts.sigma ? `seed deviation ${number(facts.sigma, 2)} ${run.unit} (67%: ${number(facts.sigma_low, 2)} to ${number(facts.sigma_high, 2)})` : "", `holdout read ${facts.holdout_reads} times`, `policy ${run.policy}`, `seed ${run.seed}`,
    ].filter(Boolean).join(" · ");
    put("lessons", ...facts.lessons.map((lesson) => { const item = element("li", lesson.text + " "); item.append(...lesson.nodes.map(link)); return item; }));
    const c = facts.cases;
    describeCosts();
    $("by-case").hidden = !c.count;
    if (c.count) {
      $("cases-said").textContent = `Screening scores of ${v && v.kind === "champion" ? "the champion" : "the leader"} against the seed program by case of val, the smallest gains first${c.count > c.rows.length ? ` (${c.rows.length} of ${c.count})` : ""}: better on ${c.better}, worse on ${c.worse} of ${c.count} cases.`;
      put("cases", table(c.rows));
    }
    $("ablation").hidden = !facts.ablations.length;
    put("steps", ...facts.ablations.flatMap(({ run: name, node, steps }) => {
      const heading = element("p", "Steps of ");
      heading.append(link(node), ` (run ${name})`);
      const lines = steps.map((s) => ({ step: s.node === null ? s.part : link(s.node), worth: signed(s.worth), from: signed(s.low), to: signed(s.high), runs: s.runs, verdict: s.verdict, idea: cut(s.idea, 80) }));
      return [heading, table(lines)];
    }));
    put("operators", table(facts.operators));
    put("models", table(facts.models));
    put("spending", table(facts.spending));
    put("failures", table(facts.failures));
  }

  function describeCosts() {
    const { unit, rows, none_right } = facts.costs, front = rows.filter((row) => row.front).sort((a, b) => a.cost - b.cost);
    $("agents").hidden = !rows.length;
    if (!rows.length) return;
    const words = front.map((row) => `${short(row.node)} has ${number(100 * row.share, 3)}% right at ${price(row.cost)}`);
    $("costs-said").textContent = `Pareto front of ${rows.length.toLocaleString("en")} agents, ${unit} for a right answer: ${words.slice(0, 12).join("; ")}${words.length > 12 ? "; ..." : ""}.${none_right ? ` Without a right answer, and not shown: ${none_right}.` : ""} Screenings chose these agents, so their shares flatter.`;
    put("front", table(front.map((row) => ({ agent: link(row.node), right: `${number(100 * row.share, 3)}%`, items: row.items, [unit + " a right answer"]: price(row.cost), idea: cut(facts.nodes.idea[row.node], 80) }))));
  }

  const price = (cost) => facts.costs.unit === "dollars" ? `$${number(cost, 3)}` : number(cost < 100 ? cost : Math.round(cost), 3);

  // ------------------------------------------------------------ canvases

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  function sheet(canvas, surface = canvas) {
    const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(box.width * ratio)), height = Math.max(1, Math.round(box.height * ratio));
    for (const each of new Set([canvas, surface])) if (each.width !== width || each.height !== height) { each.width = width; each.height = height; }
    const pen = surface.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, box.width, box.height);
    pen.font = "12px system-ui, sans-serif";
    return { pen, width: box.width, height: box.height };
  }

  function ticks(low, high, most) {
    const raw = (high - low) / most, base = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * base).find((s) => s >= raw);
    const found = [];
    for (let t = Math.ceil(low / step) * step; t <= high + 1e-12; t += step) found.push(t);
    return { found, digits: Math.max(0, -Math.floor(Math.log10(step))) };
  }

  function line(pen, points, style, width = 1) {
    pen.strokeStyle = style; pen.lineWidth = width; pen.beginPath();
    points.forEach(([x, y], i) => i ? pen.lineTo(x, y) : pen.moveTo(x, y));
    pen.stroke();
  }

  // Thousands of dots are painted once, on a separate canvas; a click only copies it and rings the chosen dot.
  const painted = { progress: document.createElement("canvas"), tree: document.createElement("canvas"), costs: document.createElement("canvas") };

  function ring(name, spots, size) {
    const canvas = $(name), { pen } = sheet(canvas);
    pen.save(); pen.setTransform(1, 0, 0, 1, 0, 0); pen.drawImage(painted[name], 0, 0); pen.restore();
    pen.strokeStyle = colour("link"); pen.lineWidth = 2.5;
    for (const [x, y] of spots) { pen.beginPath(); pen.arc(x, y, size, 0, 7); pen.stroke(); }
  }

  // ------------------------------------------------------------ progress

  const dots = { x: [], y: [], node: [] };

  function drawProgress() {
    const { pen, width, height } = sheet($("progress"), painted.progress), list = facts.experiments;
    const left = 64, right = 16, top = 14, bottom = 36, [low, high] = facts.range;
    const x = (k) => left + (width - left - right) * (k + 0.5) / Math.max(1, list.length);
    const y = (s) => top + (height - top - bottom) * (high - s) / (high - low);
    const inside = (s) => Math.min(height - bottom, Math.max(top, y(s)));
    const { found, digits } = ticks(low, high, 6);
    pen.textAlign = "right"; pen.fillStyle = colour("quiet");
    for (const t of found) { line(pen, [[left, y(t)], [width - right, y(t)]], colour("line")); pen.fillText(t.toFixed(digits), left - 8, y(t) + 4); }
    pen.textAlign = "left";
    pen.fillText(`evaluations in order of arrival (${list.length.toLocaleString("en")})`, left, height - 12);
    pen.fillText(facts.run.unit || facts.run.metric, 6, top + 4);
    dots.x.length = dots.y.length = dots.node.length = 0;
    const size = list.length > 2000 ? 1.6 : list.length > 400 ? 2.4 : 3.6;
    list.forEach(([node, score], k) => {
      const px = x(k), py = score === null ? height - bottom + 6 : inside(score);
      dots.x.push(px); dots.y.push(py); dots.node.push(node);
      if (score === null) { line(pen, [[px, py - 4], [px, py + 4]], colour("bad")); return; }
      pen.fillStyle = facts.nodes.suspect[node] ? colour("odd") : colour("dot");
      pen.beginPath(); pen.arc(px, py, size, 0, 7); pen.fill();
    });
    const steps = [];
    let last = null;
    list.forEach(([, , , leading], k) => { if (leading === null) return; if (last !== null && leading !== last) steps.push([x(k), inside(last)]); steps.push([x(k), inside(leading)]); last = leading; });
    if (steps.length) line(pen, [...steps, [width - right, steps[steps.length - 1][1]]], colour("best"), 1.8);
    const taken = [];
    for (const [k, node, leading] of facts.kept) {
      const half = facts.sigma ? 1.96 * facts.sigma / Math.sqrt(facts.nodes.runs[node] || 1) : 0, mean = facts.nodes.score[node] ?? leading;
      if (half) line(pen, [[x(k), inside(mean - half)], [x(k), inside(mean + half)]], colour("best"), 1.4);
      pen.fillStyle = colour("best"); pen.beginPath(); pen.arc(x(k), inside(leading), size + 1.2, 0, 7); pen.fill();
    }
    pen.fillStyle = colour("ink");
    for (const [k, node, leading] of facts.kept.slice(1).reverse()) {
      const words = cut(facts.nodes.idea[node], 44), wide = pen.measureText(words).width;
      const box = { x: x(k) + 7, y: inside(leading) + (facts.run.direction === "minimise" ? -8 : 16) };
      if (box.x + wide > width - right) { box.x = x(k) - 7 - wide; box.y = inside(leading) + (facts.run.direction === "minimise" ? 14 : -6); }
      const clash = taken.some((other) => Math.abs(other.y - box.y) < 14 && box.x < other.x + other.wide + 8 && other.x < box.x + wide + 8);
      if (clash || box.x < left || box.y < top + 8) continue;
      pen.fillText(words, box.x, box.y); taken.push({ ...box, wide });
    }
    dots.size = size;
    ringProgress();
  }

  function ringProgress() {
    const spots = [];
    if (selected >= 0) dots.node.forEach((node, k) => { if (node === selected) spots.push([dots.x[k], dots.y[k]]); });
    ring("progress", spots, dots.size + 4);
  }

  function nearestDot(dots, px, py) {
    let best = -1, least = 14 * 14;
    for (let k = 0; k < dots.x.length; k++) { const d = (dots.x[k] - px) ** 2 + (dots.y[k] - py) ** 2; if (d < least) { least = d; best = dots.node[k]; } }
    return best;
  }

  // ------------------------------------------------------------ cost of a right answer

  const agents = { x: [], y: [], node: [] };

  function decades(low, high) {
    const found = [];
    for (let k = Math.floor(Math.log10(low)); 10 ** k <= high; k++) for (const m of [1, 2, 5]) if (m * 10 ** k >= low && m * 10 ** k <= high) found.push(m * 10 ** k);
    return found.length > 2 ? found : ticks(low, high, 4).found;
  }

  function drawCosts() {
    const rows = facts.costs.rows;
    if (!rows.length) return;
    const { pen, width, height } = sheet($("costs"), painted.costs), left = 52, right = 20, top = 14, bottom = 40;
    const paid = rows.map((row) => row.cost).filter((cost) => cost > 0), edge = (choose) => paid.reduce((a, b) => choose(a, b), paid[0] ?? 1);
    const low = edge(Math.min) / 1.3, high = edge(Math.max) * 1.3;
    const x = (cost) => left + (width - left - right) * (cost > low ? Math.log(cost / low) / Math.log(high / low) : 0);
    const y = (share) => top + (height - top - bottom) * (1 - share);
    pen.fillStyle = colour("quiet"); pen.textAlign = "right";
    for (const share of [0, 0.25, 0.5, 0.75, 1]) { line(pen, [[left, y(share)], [width - right, y(share)]], colour("line")); pen.fillText(`${100 * share}%`, left - 8, y(share) + 4); }
    pen.textAlign = "center";
    let free = left;
    for (const cost of decades(low, high)) {
      const words = price(cost), half = pen.measureText(words).width / 2;
      if (x(cost) - half < free || x(cost) + half > width) continue;
      pen.fillText(words, x(cost), height - bottom + 16); free = x(cost) + half + 8;
    }
    pen.textAlign = "left";
    pen.fillText(`${facts.costs.unit} for a right answer`, left, height - 6);
    agents.x.length = agents.y.length = agents.node.length = 0;
    for (const row of rows) {
      agents.x.push(x(row.cost)); agents.y.push(y(row.share)); agents.node.push(row.node);
      if (row.front) continue;
      pen.fillStyle = colour("dot"); pen.beginPath(); pen.arc(x(row.cost), y(row.share), 3.6, 0, 7); pen.fill();
    }
    const front = rows.filter((row) => row.front).sort((a, b) => a.cost - b.cost);
    line(pen, front.flatMap((row, k) => k ? [[x(row.cost), y(front[k - 1].share)], [x(row.cost), y(row.share)]] : [[x(row.cost), y(row.share)]]), colour("best"), 1.8);
    pen.fillStyle = colour("best");
    for (const row of front) { pen.beginPath(); pen.arc(x(row.cost), y(row.share), 4.8, 0, 7); pen.fill(); }
    ringCosts();
  }

  function ringCosts() {
    if (!facts.costs.rows.length) return;
    const k = selected < 0 ? -1 : agents.node.indexOf(selected);
    ring("costs", k < 0 ? [] : [[agents.x[k], agents.y[k]]], 8);
  }

  // ------------------------------------------------------------ tree

  const view = { scale: 1, x: 0, y: 0 };

  function arrange() {
    // Depth to the right; the rows come with the facts.
    const { parents, depth, row } = facts.nodes, most = (list) => list.reduce((a, b) => Math.max(a, b), 0);
    children = parents.map(() => []);
    parents.forEach((above, i) => { if (above.length) children[above[0]].push(i); });
    layout = { depth, row, rows: most(row) + 1, levels: Math.max(1, most(depth)) };
  }

  function fit() {
    const box = $("tree").getBoundingClientRect();
    view.scale = 1; view.x = 0; view.y = 0;
    view.step = (box.width - 60) / (layout.levels + 0.5);
    view.rise = (box.height - 40) / layout.rows;
    drawTree();
  }

  const treeX = (i) => 24 + view.x + layout.depth[i] * view.step * view.scale;
  const treeY = (i) => 20 + view.y + (layout.row[i] + 0.5) * view.rise * view.scale;

  function nodeColour(i) {
    const nodes = facts.nodes, mode = $("colour").value;
    if (nodes.suspect[i]) return colour("odd");
    if (mode === "operator") return KINDS[order.operators.indexOf(nodes.operator[i]) % KINDS.length];
    if (mode === "state") return nodes.state[i] === "scored" ? colour("best") : nodes.state[i] === "waiting" ? colour("dot") : colour("bad");
    if (nodes.score[i] === null) return nodes.state[i] === "waiting" ? colour("dot") : colour("bad");
    return RANKS[Math.min(RANKS.length - 1, Math.floor(order.rank[i] * RANKS.length))];
  }

  function drawTree() {
    const { pen, width, height } = sheet($("tree"), painted.tree), nodes = facts.nodes, count = nodes.id.length;
    const near = (i) => { const px = treeX(i), py = treeY(i); return px > -80 && px < width + 80 && py > -40 && py < height + 40; };
    const bold = new Set($("lineage").checked ? facts.lineage : []);
    const edges = (style, thick, dash, test) => {
      pen.strokeStyle = style; pen.lineWidth = thick; pen.setLineDash(dash); pen.beginPath();
      for (let i = 0; i < count; i++) nodes.parents[i].forEach((p, k) => { if ((near(i) || near(p)) && test(i, p, k)) { pen.moveTo(treeX(p), treeY(p)); pen.lineTo(treeX(i), treeY(i)); } });
      pen.stroke(); pen.setLineDash([]);
    };
    edges(colour("line"), 1, [], (i, p, k) => k === 0);
    edges(colour("line"), 1, [3, 3], (i, p, k) => k > 0);
    edges(colour("best"), 2.4, [], (i, p) => bold.has(i) && bold.has(p));
    const size = Math.max(count > 3000 ? 1.5 : 2.4, Math.min(6, view.rise * view.scale * 0.42, view.step * view.scale * 0.3)), groups = new Map();
    for (let i = 0; i < count; i++) if (near(i)) { const c = nodeColour(i); groups.has(c) ? groups.get(c).push(i) : groups.set(c, [i]); }
    for (const [c, some] of groups) { pen.fillStyle = c; pen.beginPath(); for (const i of some) { pen.moveTo(treeX(i) + size, treeY(i)); pen.arc(treeX(i), treeY(i), size, 0, 7); } pen.fill(); }
    layout.size = size;
    ringTree();
    const words = { rank: "colour: rank by mean score, yellow is best; red: no score", operator: order.operators.join(", "), state: "green: scored; red: failed; grey: waiting" }[$("colour").value];
    $("legend").textContent = `${words}; violet: suspect; dashed: second parent. Drag to move, wheel to zoom, arrow keys to step.`;
  }

  function ringTree() { ring("tree", selected >= 0 ? [[treeX(selected), treeY(selected)]] : [], layout.size + 3.5); }

  function nearestNode(px, py) {
    let best = -1, least = 12 * 12;
    for (let i = 0; i < facts.nodes.id.length; i++) { const d = (treeX(i) - px) ** 2 + (treeY(i) - py) ** 2; if (d < least) { least = d; best = i; } }
    return best;
  }

  function bringIntoView(i) {
    const box = $("tree").getBoundingClientRect(), x = treeX(i), y = treeY(i);
    const dx = x < 10 || x > box.width - 10 ? box.width / 2 - x : 0, dy = y < 10 || y > box.height - 10 ? box.height / 2 - y : 0;
    if (!dx && !dy) return;
    view.x += dx; view.y += dy;
    drawTree();
  }

  function zoom(factor, px, py) {
    const scale = Math.max(0.5, Math.min(2000, view.scale * factor)), change = scale / view.scale;
    view.x = (px - 24) - ((px - 24) - view.x) * change;
    view.y = (py - 20) - ((py - 20) - view.y) * change;
    view.scale = scale;
    drawTree();
  }

  // ------------------------------------------------------------ one node

  async function select(i) {
    const began = performance.now();
    selected = i;
    ringProgress(); ringTree(); ringCosts();
    const nodes = facts.nodes, unit = facts.run.unit, parts = [];
    const heading = element("h2", `${short(i)} · ${nodes.operator[i]}`);
    heading.title = heading.dataset.node = nodes.id[i];
    parts.push(heading, element("p", nodes.idea[i], "idea"));
    if (nodes.suspect[i]) parts.push(element("p", `Suspect: ${nodes.suspect[i]}`, "suspect"));
    const scored = nodes.score[i] !== null;
    parts.push(element("p", scored ? `${number(nodes.score[i])} ${unit} on val, mean of ${nodes.runs[i]} run${nodes.runs[i] === 1 ? "" : "s"}; ${signed(nodes.gain[i])} against its better parent` : `${nodes.state[i]}${nodes.reason[i] ? ": " + nodes.reason[i] : ""}`, scored ? "" : "bad"));
    const cost = [`${number(nodes.seconds[i] ?? 0, 3)} s of compute in ${nodes.evaluations[i] ?? 0} runs`, nodes.tokens[i] ? `${nodes.tokens[i].toLocaleString("en")} tokens` : "", nodes.tokens[i] ? nodes.dollars[i] === null ? "price unknown" : `$${nodes.dollars[i].toFixed(4)}` : "", `${nodes.lines[i]} lines`];
    parts.push(element("p", cost.filter(Boolean).join(" · "), "quiet"));
    for (const [name, some] of [["parents", nodes.parents[i]], ["children", children[i]]]) {
      if (!some.length) continue;
      const row = element("p", name + " ", "quiet");
      row.append(...some.slice(0, 40).map(link), some.length > 40 ? `and ${some.length - 40} more` : "");
      parts.push(row);
    }
    put("node", ...parts);
    let more;
    try { more = await source.detail(i); } catch (error) { $("node").append(element("p", String(error), "bad")); return; }
    if (selected !== i) return;
    if (more.curve.length > 1) { const canvas = element("canvas"); $("node").append(element("h3", "Its loss (reported by the candidate)"), canvas); drawCurve(canvas, more.curve); }
    if (more.evaluations.length) { const holder = element("div", undefined, "scroll"); holder.append(table(more.evaluations, ["purpose", "outcome", "score", "seconds", "wall", "steps", "memory_mb", "seed", "trust"])); $("node").append(element("h3", "Evaluations"), holder); }
    if (more.cases.length) { const holder = element("div", undefined, "scroll"); holder.append(table(more.cases, ["case", ...(more.cases.some(c => c.ending) ? ["ending"] : []), "value", "best", "gain", "feedback"])); $("node").append(element("h3", "Scores by case"), holder); }
    if (more.certificate) $("node").append(element("h3", "Certificate"), element("pre", more.certificate));
    for (const evaluation of more.evaluations) if (evaluation.reason) $("node").append(element("p", `${evaluation.outcome}: ${evaluation.reason}`, "idea bad"));
    if (more.diff) {
      const pre = element("pre");
      for (const text of more.diff.split("\n")) pre.append(element("span", text, text.startsWith("@@") ? "at" : text.startsWith("+") ? "add" : text.startsWith("-") ? "del" : ""));
      $("node").append(element("h3", "Diff to its first parent"), pre);
    }
    for (const evaluation of more.evaluations) if (evaluation.log.trim()) $("node").append(element("h3", "End of the log"), element("pre", evaluation.log));
    $("node").scrollTop = 0;
    $("node").dataset.milliseconds = (performance.now() - began).toFixed(1);
    $("node").dataset.shown = nodes.id[i];
  }

  function drawCurve(canvas, points) {
    const { pen, width, height } = sheet(canvas), xs = points.map((p) => p[0]), ys = points.map((p) => p[1]).filter(Number.isFinite);
    const last = Math.max(...xs) || 1, low = Math.min(...ys), high = Math.max(...ys), span = high - low || 1;
    line(pen, points.filter((p) => Number.isFinite(p[1])).map(([t, loss]) => [46 + (width - 56) * t / last, 10 + (height - 34) * (high - loss) / span]), colour("link"), 1.5);
    pen.fillStyle = colour("quiet");
    pen.fillText(number(high, 3), 4, 16); pen.fillText(number(low, 3), 4, height - 22); pen.fillText(`${number(last, 3)} s`, width - 46, height - 6);
  }

  // ------------------------------------------------------------ input

  function tip(i, event) {
    const box = $("tip");
    box.hidden = i < 0;
    if (i < 0) return;
    const nodes = facts.nodes;
    box.textContent = `${short(i)} ${nodes.operator[i]}: ${nodes.score[i] === null ? nodes.state[i] : number(nodes.score[i])}  ${cut(nodes.idea[i], 160)}`;
    box.style.left = Math.min(event.clientX + 14, window.innerWidth - 380) + "px";
    box.style.top = event.clientY + 16 + "px";
  }

  const at = (event) => { const box = event.currentTarget.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };

  function listen() {
    const progress = $("progress"), tree = $("tree"), costs = $("costs");
    for (const [canvas, shown] of [[progress, dots], [costs, agents]]) {
      canvas.addEventListener("pointermove", (event) => tip(nearestDot(shown, ...at(event)), event));
      canvas.addEventListener("click", (event) => { const i = nearestDot(shown, ...at(event)); if (i >= 0) { select(i); bringIntoView(i); } });
    }
    for (const canvas of [progress, tree, costs]) canvas.addEventListener("pointerleave", () => tip(-1));
    let drag = null;
    tree.addEventListener("pointerdown", (event) => { drag = { x: event.clientX, y: event.clientY, moved: false }; tree.setPointerCapture(event.pointerId); });
    tree.addEventListener("pointermove", (event) => {
      if (!drag) { tip(nearestNode(...at(event)), event); return; }
      const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
      if (!drag.moved && Math.hypot(dx, dy) < 4) return;
      drag = { x: event.clientX, y: event.clientY, moved: true };
      view.x += dx; view.y += dy; drawTree();
    });
    tree.addEventListener("pointerup", (event) => { const still = drag && !drag.moved; drag = null; if (still) { const i = nearestNode(...at(event)); if (i >= 0) select(i); } });
    tree.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(-event.deltaY * 0.0015), ...at(event)); }, { passive: false });
    tree.addEventListener("keydown", (event) => {
      if (selected < 0 && facts.nodes.id.length) { if (event.key.startsWith("Arrow")) select(0); return; }
      const above = facts.nodes.parents[selected][0], beside = above === undefined ? [] : children[above], k = beside.indexOf(selected);
      const next = { ArrowLeft: above, ArrowRight: children[selected][0], ArrowUp: beside[k - 1], ArrowDown: beside[k + 1] }[event.key];
      if (next !== undefined) { event.preventDefault(); select(next); bringIntoView(next); }
    });
    $("fit").addEventListener("click", fit);
    for (const id of ["colour", "lineage"]) $(id).addEventListener("change", drawTree);
    $("find").addEventListener("input", () => {
      const words = $("find").value.trim().toLowerCase();
      const found = words ? facts.nodes.id.map((id, i) => i).filter((i) => facts.nodes.id[i].startsWith(words) || facts.nodes.operator[i].includes(words) || facts.nodes.idea[i].toLowerCase().includes(words)) : [];
      $("found").textContent = words ? `${found.length} found` : "";
      if (found.length) { select(found[0]); bringIntoView(found[0]); }
    });
    window.addEventListener("resize", () => { drawProgress(); drawCosts(); fit(); });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawProgress(); drawCosts(); drawTree(); });
  }

  function adopt(found) {
    const first = facts === undefined, chosen = selected >= 0 ? facts.nodes.id[selected] : null;
    facts = found;
    index = new Map(facts.nodes.id.map((id, i) => [id, i]));
    const scored = facts.nodes.score.map((s, i) => [s, i]).filter(([s]) => s !== null).sort((a, b) => facts.run.direction === "minimise" ? b[0] - a[0] : a[0] - b[0]);
    order = { rank: new Float64Array(facts.nodes.id.length), operators: [...new Set(facts.nodes.operator)] };
    scored.forEach(([, i], k) => { order.rank[i] = scored.length > 1 ? k / (scored.length - 1) : 1; });
    selected = chosen === null ? -1 : index.get(chosen) ?? -1;
    arrange(); describe(); drawProgress(); drawCosts();
    first ? fit() : drawTree();
  }

  try {
    adopt(await source.facts());
    listen();
    document.body.dataset.ready = "yes";
    if (source.live) {
      const follow = async () => {
        try { const found = await source.facts(); if (found) adopt(found); delete document.body.dataset.lost; }
        catch (error) { document.body.dataset.lost = "yes"; $("summary").textContent = `The server does not answer (${error.message}); the data shown may be old.`; source.version = null; }
        setTimeout(follow, 2000);
      };
      setTimeout(follow, 2000);
    }
  } catch (error) {
    $("outcome").textContent = `This page cannot be shown: ${error.message}`;
  }
})();
