"use strict";
// Curves: the learning curves of any selection of nodes, overlaid; the root and the leader are always there.
(() => {
  const { button, chart, choice, colour, cut, element, go, kind, link, number, score, section, short, table } = Treewright;
  const MOST = 24; // curves at once: beyond that nobody tells them apart
  const OTHERS = [0, 1, 3, 4, 5, 6, 7]; // colours without the green of the leader
  const DASHES = ["solid", "dashed", "dotted"];
  let state, drawing = 0;

  // ------------------------------------------------------------ which curves

  const ids = (some) => some.map((i) => state.facts.nodes.id[i]).join(",") || null;
  const root = () => state.facts.nodes.parents.findIndex((above) => !above.length);
  const always = () => [...new Set([root(), state.leader])].filter((i) => i >= 0);
  const shown = () => [...new Set([...always(), ...state.nodes, ...(state.node >= 0 ? [state.node] : [])])].slice(0, MOST);

  function best(count) {
    const { rank, facts: { nodes } } = state;
    return nodes.id.map((_, i) => i).filter((i) => nodes.score[i] !== null && !nodes.suspect[i]).sort((a, b) => rank[b] - rank[a]).slice(0, count);
  }

  const add = (some) => go({ nodes: ids([...new Set([...state.nodes, ...some])].slice(0, MOST)) });

  // Return [{i, points}] of the shown nodes; a curve that cannot be loaded is empty.
  async function load(some) {
    return Promise.all(some.map(async (i) => {
      try { return { i, points: (await Treewright.source.detail(i)).curve.filter(([, loss]) => Number.isFinite(loss)) }; }
      catch (error) { return { i, points: [], lost: error.message }; }
    }));
  }

  // ------------------------------------------------------------ the chart

  const called = (i) => `${short(i)}${i === root() ? " (root)" : i === state.leader ? " (leader)" : ""}`;

  function style(i, k) {
    if (i === root()) return { color: colour("ink"), type: "dashed", width: 2 };
    if (i === state.leader) return { color: colour("best"), type: "solid", width: 3 };
    return { color: kind(OTHERS[k % OTHERS.length]), type: DASHES[Math.floor(k / OTHERS.length) % DASHES.length], width: i === state.node ? 3 : 1.6 };
  }

  function option(curves) {
    const logarithmic = state.params.get("scale") === "log" && curves.every(({ points }) => points.every(([, loss]) => loss > 0));
    return {
      grid: { left: 62, right: 70, top: 30, bottom: 44 },
      xAxis: { type: "value", name: "seconds of training" },
      yAxis: { type: logarithmic ? "log" : "value", name: "loss", nameLocation: "end", nameGap: 10, scale: true },
      dataZoom: [{ type: "inside", xAxisIndex: 0, filterMode: "none", zoomOnMouseWheel: "ctrl" }, { type: "inside", yAxisIndex: 0, filterMode: "none", zoomOnMouseWheel: "ctrl" }],
      tooltip: { trigger: "axis", order: "valueAsc", valueFormatter: (value) => number(value) },
      series: curves.map(({ i, points }, k) => ({ type: "line", name: called(i), data: points, showSymbol: false, triggerLineEvent: true, emphasis: { focus: "series" }, lineStyle: style(i, k), itemStyle: { color: style(i, k).color }, z: i === state.leader ? 4 : 3, ...ended(i) })),
    };
  }

  // The name at the end of a line, so that colour is not all that tells the curves apart.
  const ended = (i) => ({ endLabel: { show: true, formatter: i === root() ? "root" : i === state.leader ? "leader" : short(i), color: colour("ink"), fontSize: 11, distance: 6 }, labelLayout: { hideOverlap: true, moveOverlap: "shiftY" } });

  function said(curves) {
    const words = curves.map(({ i, points }) => `${called(i)} ${points.length ? `from ${number(points[0][1])} to ${number(points[points.length - 1][1])} in ${number(points[points.length - 1][0], 3)} s` : "none"}`);
    return `Loss by seconds of training, of each candidate's first screening, as the candidate reported it: ${words.slice(0, 8).join("; ")}${words.length > 8 ? "; ..." : ""}. A click on a line shows its candidate.`;
  }

  // ------------------------------------------------------------ the list below it

  function row({ i, points, lost }, k) {
    const mark = element("span", undefined, "line"), { color, type } = style(i, k), last = points[points.length - 1];
    mark.style.borderTop = `3px ${type} ${color}`; // a property, not an attribute: the content policy allows it
    const removal = always().includes(i) ? "" : button("remove", () => go({ nodes: ids(state.nodes.filter((each) => each !== i)), ...(i === state.node ? { node: null } : {}) }));
    return { line: mark, candidate: link(i), role: i === root() ? "root" : i === state.leader ? "leader" : "", score: score(i), "first loss": points[0]?.[1] ?? null, "last loss": last?.[1] ?? null, seconds: last?.[0] ?? null, idea: cut(lost ?? state.facts.nodes.idea[i], 80), " ": removal };
  }

  function bar() {
    const made = element("p", undefined, "controls"), label = element("label", "add "), input = Object.assign(element("input"), { type: "search", placeholder: "beginning of an id", id: "add-curve" });
    label.append(input);
    input.addEventListener("change", () => { const i = Treewright.position(input.value.trim().toLowerCase()); if (i >= 0) add([i]); else if (input.value) input.setCustomValidity("no candidate has such an id"), input.reportValidity(); });
    input.addEventListener("input", () => input.setCustomValidity(""));
    made.append(label, button("Add the 5 best", () => add(best(5))), button("Add the lineage of the best", () => add(state.facts.lineage)),
      button("Only root and leader", () => go({ nodes: null, node: null })),
      choice("loss", [["linear", "linear"], ["log", "logarithmic"]], state.params.get("scale") || "linear", (value) => go({ scale: value === "log" ? "log" : null }, { replace: true })));
    return made;
  }

  // ------------------------------------------------------------ the view

  async function draw(root, now) {
    state = now;
    const turn = ++drawing, curves = await load(shown());
    if (turn !== drawing) return; // a later one is on its way
    const made = section("Learning curves", "", bar());
    made.id = "curves";
    root.replaceChildren(made);
    if (curves.some(({ points }) => points.length > 1)) chart(made, () => option(curves), { label: "Learning curves of the selection", text: said(curves), tall: true, click: ({ seriesIndex }) => { const one = curves[seriesIndex]; if (one) go({ node: state.facts.nodes.id[one.i] }); } });
    else made.append(element("p", "None of these candidates reported a curve.", "quiet"));
    const all = state.nodes.length + always().length;
    if (all > MOST) made.append(element("p", `The first ${MOST} of ${all} are shown.`, "quiet"));
    made.append(table(curves.map(row)));
  }

  function update(root, now) {
    const before = state, name = (one) => [one.node, one.leader, one.params.get("nodes"), one.params.get("scale"), one.facts.run.run].join("/");
    if (before.facts !== now.facts || name(before) !== name(now)) draw(root, now);
  }

  Treewright.view({ name: "curves", title: "Curves", beside: true, draw, update, available: (facts) => facts.has_curves });
})();
