"use strict";
// Tree: all candidates, with subtrees that fold, the focus on a lineage, colours, and a search.
(() => {
  const { button, chart, choice, colour, cut, element, go, kind, many, score, section } = Treewright;
  const MOST = 300; // nodes shown at first: of a larger tree, subtrees beside the best lineage are folded
  const LARGE = 1500; // nodes above which the marks of one colour are drawn in one stroke
  const COLOURS = [["score", "score"], ["operator", "operator"], ["outcome", "outcome"], ["age", "age"]];
  let state, plot, folded = new Set(), places, controls;

  // ------------------------------------------------------------ which nodes are shown, and where

  // The address says what is folded: folds=BASE,ID,-ID: what is folded at first ("some"), nothing ("none") or all beside
  // the best lineage ("beside"), and the nodes that were folded or, with a minus, unfolded since.
  function foldsOf({ params }) {
    const [base, ...since] = (params.get("folds") || "some").split(",");
    return { base, since: new Map(since.map((id) => [id.replace(/^-/, ""), !id.startsWith("-")])) };
  }

  function fold(now) {
    const { base, since } = foldsOf(now);
    folded = base === "none" ? new Set() : base === "beside" ? allBeside(now) : foldedAtFirst(now);
    for (const [id, closed] of since) closed ? folded.add(id) : folded.delete(id);
    if (now.node >= 0) reveal(now.node, now);
  }

  // Return what is beside the best lineage, from the root on, so that at most ``MOST`` nodes are shown.
  function foldedAtFirst({ facts, children }) {
    const best = new Set(facts.lineage), shown = [], folded = new Set();
    facts.nodes.id.forEach((_, i) => { if (!facts.nodes.parents[i].length) shown.push(i); });
    for (let k = 0; k < shown.length; k++) {
      const i = shown[k];
      if (!children[i].length) continue;
      if (best.has(i) || shown.length + children[i].length <= MOST) shown.push(...children[i]);
      else folded.add(facts.nodes.id[i]);
    }
    return folded;
  }

  function allBeside({ facts, children }) {
    const best = new Set(facts.lineage);
    return new Set(facts.nodes.id.filter((_, i) => !best.has(i) && children[i].length));
  }

  // Return how many candidates descend from each node, by first parents.
  function descendants(nodes) {
    const below = new Int32Array(nodes.id.length);
    for (let i = below.length - 1; i >= 0; i--) if (nodes.parents[i].length) below[nodes.parents[i][0]] += below[i] + 1;
    return below;
  }

  // Return the ancestors (by all parents) and the descendants of a node as a set; null for all nodes.
  function focusOf({ facts: { nodes }, children, params }) {
    const centre = Treewright.position(params.get("focus"));
    if (centre < 0) return null;
    const kept = new Set([centre]), up = [centre], down = [centre];
    while (up.length) for (const above of nodes.parents[up.pop()]) if (!kept.has(above)) { kept.add(above); up.push(above); }
    while (down.length) for (const below of children[down.pop()]) { kept.add(below); down.push(below); }
    return kept;
  }

  // Lay the shown nodes out: depth to the right, leaves in rows, a parent in the middle of its children.
  function arrange(now) {
    const { facts: { nodes }, children } = now, focus = focusOf(now), count = nodes.id.length;
    const shown = new Uint8Array(count), depth = new Int32Array(count), row = new Float64Array(count), list = [];
    let rows = 0, levels = 1;
    for (let i = 0; i < count; i++) {
      const above = nodes.parents[i][0];
      if ((focus && !focus.has(i)) || (above !== undefined && (!shown[above] || folded.has(nodes.id[above])))) continue;
      shown[i] = 1; list.push(i);
      depth[i] = above === undefined ? 0 : depth[above] + 1;
      levels = Math.max(levels, depth[i]);
    }
    const below = list.length ? list.filter((i) => nodes.parents[i][0] === undefined).reverse() : [], inner = (i) => folded.has(nodes.id[i]) ? [] : children[i].filter((each) => shown[each]);
    while (below.length) {
      const i = below.pop(), some = inner(i);
      if (some.length) for (let k = some.length - 1; k >= 0; k--) below.push(some[k]); else row[i] = rows++;
    }
    for (let k = list.length - 1; k >= 0; k--) { const some = inner(list[k]); if (some.length) row[list[k]] = (row[some[0]] + row[some.at(-1)]) / 2; }
    return { shown, list, depth, row, rows, levels, below: descendants(nodes) };
  }

  // ------------------------------------------------------------ colours

  // Return {key, words, color, symbol} of a node's group; nodes of one group are drawn together.
  function group(i, now) {
    const { facts: { nodes }, rank, operators } = now, mode = now.params.get("colour") || "score", state = nodes.state[i];
    const failed = nodes.score[i] === null && state !== "waiting", symbol = failed ? "diamond" : nodes.suspect[i] ? "triangle" : "circle";
    if (nodes.suspect[i]) return { key: "ranked out", color: colour("odd"), symbol };
    if (mode === "operator") return { key: nodes.operator[i], color: kind(operators.indexOf(nodes.operator[i])), symbol: "circle" };
    if (mode === "age") return graded(i / Math.max(1, nodes.id.length - 1), "oldest", "newest");
    if (state === "waiting") return { key: "waiting", color: colour("dot"), symbol: "emptyCircle" };
    if (failed) return mode === "outcome" ? { key: state, color: colour(state === "crashed" ? "bad" : "warn"), symbol } : { key: "no score", color: colour("bad"), symbol };
    return mode === "outcome" ? { key: "scored", color: colour("best"), symbol } : graded(rank[i], "worst", "best");
  }

  function graded(share, first, last) {
    const shades = Treewright.shades(), step = Math.min(shades.length - 1, Math.floor((share || 0) * shades.length));
    return { key: step === 0 ? `${first} sixth` : step === shades.length - 1 ? `${last} sixth` : `${step + 1}`, color: shades[step], symbol: "circle", step };
  }

  function groups(now) {
    const found = new Map();
    for (const i of places.list) {
      const one = group(i, now);
      if (!found.has(one.key)) found.set(one.key, { ...one, nodes: [] });
      found.get(one.key).nodes.push(i);
    }
    return [...found.values()].sort((a, b) => (a.step ?? 9) - (b.step ?? 9));
  }

  function legend(some) {
    const made = element("ul", undefined, "legend");
    for (const one of some) {
      const item = element("li"), mark = element("span", undefined, "mark");
      mark.style.background = one.color; // a property, not an attribute: the content policy allows it
      if (one.symbol === "diamond") mark.classList.add("diamond");
      item.append(mark, `${one.key} (${one.nodes.length.toLocaleString("en")})`);
      made.append(item);
    }
    return made;
  }

  // ------------------------------------------------------------ the chart

  const at = (i) => [places.depth[i], places.row[i]];
  const matches = (now) => { const words = (now.params.get("find") || "").trim().toLowerCase(), { nodes } = now.facts; return words ? nodes.id.map((_, i) => i).filter((i) => nodes.id[i].startsWith(words) || nodes.operator[i].includes(words) || nodes.idea[i].toLowerCase().includes(words)) : []; };

  function edges(name, now, test, style, more) {
    const { nodes } = now.facts, data = [];
    for (const i of places.list) nodes.parents[i].forEach((above, k) => { if (places.shown[above] && test(i, above, k)) data.push([at(above), at(i)]); });
    return { type: "lines", name, coordinateSystem: "cartesian2d", silent: true, data: data.map((coords) => ({ coords })), lineStyle: { opacity: 1, curveness: 0, ...style }, symbol: "none", large: data.length > LARGE, largeThreshold: LARGE, progressive: 0, z: 1, ...more };
  }

  function option() {
    const now = state, best = new Set(now.params.get("lineage") === "no" ? [] : now.facts.lineage), some = groups(now), { list, rows, levels } = places;
    const size = sizeOf(rows);
    const closed = list.filter((i) => folded.has(now.facts.nodes.id[i]) && places.below[i]);
    controls.legend.replaceChildren(legend(some));
    return {
      grid: { left: 16, right: 40, top: 14, bottom: 40 },
      xAxis: { type: "value", position: "bottom", min: -0.3, max: levels + 0.3, minInterval: 1, name: "generation", nameGap: 22, axisLabel: { formatter: (value) => Number.isInteger(value) ? value : "" }, splitLine: { show: false } },
      yAxis: { type: "value", min: -1, max: Math.max(1, rows), inverse: true, show: false },
      dataZoom: [{ type: "inside", xAxisIndex: 0, filterMode: "none" }, { type: "inside", yAxisIndex: 0, filterMode: "none" }],
      tooltip: { formatter: ({ data }) => hint(data?.value?.[2] ?? data?.[2] ?? -1) },
      series: [
        edges("first parent", now, (i, above, k) => k === 0 && !(best.has(i) && best.has(above)), { color: colour("edge"), width: 1 }),
        edges("second parent", now, (i, above, k) => k > 0 && !(best.has(i) && best.has(above)), { color: colour("edge"), width: 1, type: "dashed" }),
        edges("lineage of the best", now, (i, above) => best.has(i) && best.has(above), { color: colour("best"), width: 2.5 }, { z: 2 }),
        ...some.map((one) => ({ type: "scatter", name: one.key, symbol: one.symbol, symbolSize: one.symbol === "diamond" ? size + 1 : size, itemStyle: { color: one.color }, data: one.nodes.map((i) => [...at(i), i]), emphasis: { disabled: true }, large: list.length > LARGE, largeThreshold: 1, progressive: 0, z: 3 })),
        { type: "scatter", name: "folded", symbol: "roundRect", symbolSize: [Math.max(9, size + 3), Math.max(9, size + 3)], itemStyle: { color: colour("paper"), borderColor: colour("quiet"), borderWidth: 1.5 }, z: 4, labelLayout: { hideOverlap: true }, label: { show: true, position: "right", color: colour("quiet"), fontSize: 11, formatter: ({ data }) => `+${places.below[data[2]].toLocaleString("en")}` }, data: closed.map((i) => [...at(i), i]) },
        { type: "scatter", id: "found", silent: true, symbolSize: size + 7, z: 5, itemStyle: { color: "transparent", borderColor: colour("warn"), borderWidth: 2 }, data: matches(now).filter((i) => places.shown[i]).map(at) },
      ],
    };
  }

  // Return the size of a mark, in pixels: what the rows on the screen leave room for.
  function sizeOf(rows) {
    const { start = 0, end = 100 } = plot?.instance && !plot.instance.isDisposed() ? plot.instance.getOption()?.dataZoom?.[1] ?? {} : {};
    return Math.round(Math.max(3, Math.min(11, 700 / Math.max(1, rows * (end - start) / 100))));
  }

  const ring = () => plot.ring(state.node >= 0 && places.shown[state.node] ? [at(state.node)] : [], sizeOf(places.rows) / 2 + 4);

  function hint(i) {
    if (i < 0) return "";
    const { nodes } = state.facts, hidden = folded.has(nodes.id[i]) ? `\n${many(places.below[i], "descendant")} folded` : "";
    return `${nodes.id[i].slice(0, 8)} ${nodes.operator[i]}: ${score(i)}${hidden}\n${cut(nodes.idea[i], 160)}`;
  }

  function described() {
    const all = state.facts.nodes.id.length, shown = places.list.length, { nodes } = state.facts;
    const failed = nodes.score.filter((value, i) => value === null && nodes.state[i] !== "waiting").length;
    return `${shown === all ? many(all, "candidate") : `${shown.toLocaleString("en")} of ${many(all, "candidate")}`} in ${many(places.levels + 1, "generation")}; ${failed.toLocaleString("en")} failed. Green line: the lineage of the best; dashed: second parent; a square has folded descendants. Drag to move, wheel or pinch to zoom; arrow keys walk, Enter folds.`;
  }

  // ------------------------------------------------------------ what the controls do

  function again() {
    const kept = plot.instance.getOption()?.dataZoom?.map(({ start, end }) => ({ start, end }));
    places = arrange(state);
    plot.set(null, described());
    if (kept) plot.instance.setOption({ dataZoom: kept });
    ring();
    report();
  }

  function report() {
    const found = matches(state), hidden = found.filter((i) => !places.shown[i]).length;
    controls.found.textContent = state.params.get("find") ? `${found.length.toLocaleString("en")} found${hidden ? `, ${hidden.toLocaleString("en")} of them not shown` : ""}` : "";
    controls.fold.disabled = state.node < 0 || !state.children[state.node].length;
    controls.fold.textContent = state.node >= 0 && folded.has(state.facts.nodes.id[state.node]) ? "Unfold chosen" : "Fold chosen";
    controls.focus.disabled = state.node < 0 && !state.params.get("focus");
    controls.focus.textContent = state.params.get("focus") ? "All lineages" : "Only chosen's lineage";
  }

  function toggle() {
    if (state.node < 0 || !state.children[state.node].length) return;
    const id = state.facts.nodes.id[state.node], { base, since } = foldsOf(state);
    since.set(id, !folded.has(id));
    go({ folds: [base, ...[...since].map(([each, closed]) => closed ? each : `-${each}`)].join(",") }, { replace: true });
  }

  const from = (base) => go({ folds: base }, { replace: true });

  // Unfold the ancestors of a node, so that it is shown; return whether one was folded.
  function reveal(i, { facts: { nodes } }) {
    let changed = false;
    for (let above = nodes.parents[i]?.[0]; above !== undefined; above = nodes.parents[above][0]) changed = folded.delete(nodes.id[above]) || changed;
    return changed;
  }

  function bringIntoView(i) {
    if (!places.shown[i]) return;
    const zooms = plot.instance.getOption().dataZoom, moves = [[places.depth[i] + 0.3, places.levels + 0.6], [places.row[i] + 1, Math.max(1, places.rows) + 1]];
    moves.forEach(([value, span], k) => {
      const share = 100 * (k ? value / span : value / span), { start, end } = zooms[k], wide = end - start;
      if (share >= start && share <= end) return;
      const first = Math.max(0, Math.min(100 - wide, share - wide / 2));
      plot.instance.dispatchAction({ type: "dataZoom", dataZoomIndex: k, start: first, end: first + wide });
    });
  }

  function walk(event) {
    const { nodes } = state.facts, i = state.node;
    if (event.key === "Enter") { toggle(); return; }
    if (!event.key.startsWith("Arrow") || !nodes.id.length) return;
    event.preventDefault();
    if (i < 0) { go({ node: nodes.id[Math.max(0, state.leader)] }); return; }
    const above = nodes.parents[i][0], beside = above === undefined ? [] : state.children[above], k = beside.indexOf(i);
    const next = { ArrowLeft: above, ArrowRight: state.children[i][0], ArrowUp: beside[k - 1], ArrowDown: beside[k + 1] }[event.key];
    if (next !== undefined) go({ node: nodes.id[next] });
  }

  function find(words, step) {
    const found = words.trim() ? matches({ ...state, params: new URLSearchParams({ find: words }) }) : [];
    const next = found.length ? found[step ? (found.indexOf(state.node) + 1) % found.length : 0] : -1;
    go({ find: words.trim() || null, ...(next >= 0 ? { node: state.facts.nodes.id[next] } : {}) }, { replace: true });
  }

  function bar() {
    const made = element("p", undefined, "controls"), input = Object.assign(element("input"), { type: "search", id: "find", placeholder: "id or words of an idea", value: state.params.get("find") || "" }), label = element("label", "find ");
    label.append(input);
    input.addEventListener("input", () => find(input.value, false));
    input.addEventListener("keydown", (event) => { if (event.key === "Enter") find(input.value, true); });
    const lineage = element("label"), check = Object.assign(element("input"), { type: "checkbox", checked: state.params.get("lineage") !== "no" });
    check.addEventListener("change", () => go({ lineage: check.checked ? null : "no" }, { replace: true }));
    lineage.append(check, " lineage of the best");
    controls = { found: element("span", "", "quiet"), legend: element("div"), fold: button("Fold chosen", toggle), focus: button("", () => go({ focus: state.params.get("focus") ? null : state.facts.nodes.id[state.node] })) };
    controls.found.setAttribute("role", "status");
    const whole = button("Whole tree", () => { plot.instance.dispatchAction({ type: "dataZoom", batch: [0, 1].map((dataZoomIndex) => ({ dataZoomIndex, start: 0, end: 100 })) }); });
    const open = button("Unfold all", () => from("none")), close = button("Fold beside the best", () => from("beside"));
    made.append(label, controls.found, choice("colour", COLOURS, state.params.get("colour") || "score", (value) => go({ colour: value === "score" ? null : value }, { replace: true })), lineage, controls.fold, controls.focus, open, close, whole);
    return made;
  }

  // ------------------------------------------------------------ the view

  const fixed = (now) => ["colour", "lineage", "focus", "find", "folds"].map((name) => now.params.get(name)).join("\n");
  const pick = ({ data }) => { const i = (data?.value ?? data)?.[2]; if (i !== undefined) go({ node: state.facts.nodes.id[i] }); };

  function draw(root, now) {
    state = now;
    fold(now);
    places = arrange(now);
    const made = section("Tree", "", bar());
    made.id = "tree";
    root.append(made);
    plot = chart(made, option, { label: "The tree of candidates", text: described(), tall: true, click: pick, key: walk });
    plot.figure.append(controls.legend);
    plot.instance.on("dblclick", toggle);
    let sized = sizeOf(places.rows), waiting = 0;
    plot.instance.on("datazoom", () => { clearTimeout(waiting); waiting = setTimeout(() => { if (sizeOf(places.rows) !== sized) { sized = sizeOf(places.rows); again(); } }, 120); });
    report();
    ring();
    if (now.node >= 0) bringIntoView(now.node);
  }

  function update(root, now) {
    const before = state;
    state = now;
    if (before.facts.run.run !== now.facts.run.run) { root.replaceChildren(); draw(root, now); return; }
    if (before.params.get("folds") !== now.params.get("folds")) fold(now);
    const unfolded = now.node >= 0 && now.node !== before.node && reveal(now.node, now);
    if (unfolded || before.facts !== now.facts || fixed(before) !== fixed(now)) again();
    else ring();
    report();
    if (now.node >= 0 && now.node !== before.node) bringIntoView(now.node);
  }

  Treewright.view({ name: "tree", title: "Tree", beside: true, draw, update });
})();
