"use strict";
// The panel of one node: its idea, diff, curve, log and cost, beside the view and, on a narrow screen, under the tap.
Object.assign(Treewright, (() => {
  const { $, address, button, chart, colour, element, link, many, number, section, short, signed, table } = Treewright;
  const RELATIVES = 40;
  const HINT = "Click a dot, a node or an id: its idea, diff, curve, log and cost are shown here. The address of the page then names it.";
  const BEST = "Until then: the best candidate.";
  const narrow = window.matchMedia("(max-width: 900px)");
  let tapped = null, heading = null, shown = null, focus = null;

  document.addEventListener("click", (event) => {
    const found = event.target.closest("#view figure, #view .scroll, #view section");
    if (!found || $("node").contains(found)) return;
    tapped = found;
    heading = found.closest("section")?.querySelector("h2")?.textContent;
  }, true);

  // Return what was tapped, or the section that took its place when new facts were drawn.
  const near = () => tapped?.isConnected ? tapped : [...document.querySelectorAll("#view section")].find((one) => one.querySelector("h2")?.textContent === heading);

  // Put the panel where it belongs: into the second column, or under what was tapped.
  function place() {
    const panel = $("node"), above = narrow.matches ? near() : null, before = above ? above.nextSibling : null, home = above ? above.parentElement : $("main");
    if (before === panel) return;
    if (panel.parentElement !== home || above) home.insertBefore(panel, before);
  }

  // Show a node (its position; -1: none), unless it is shown with the same facts. Where the panel has a place of its own, the
  // best candidate stands in it until one is chosen.
  async function show(state) {
    const panel = $("node"), began = performance.now(), chosen = state.node >= 0;
    const beside = Treewright.views.get(state.view)?.beside && !narrow.matches; // its place is kept, so that a click moves nothing
    const i = chosen ? state.node : beside ? state.leader : -1;
    document.body.classList.toggle("chosen", chosen || Boolean(beside));
    panel.hidden = !chosen && !beside;
    if (!chosen) delete panel.dataset.shown;
    if (i < 0) { shown = null; panel.replaceChildren(element("p", HINT, "quiet")); return; }
    if (chosen) place(); else if (panel.parentElement !== $("main")) $("main").append(panel);
    const key = [state.facts.nodes.id[i], state.view, state.facts.nodes.evaluations[i], state.children[i].length, chosen].join("/");
    if (shown === key) return;
    const other = !shown || shown.split("/")[0] !== state.facts.nodes.id[i];
    shown = key;
    panel.replaceChildren(...(chosen ? [] : [element("p", `${HINT} ${BEST}`, "quiet")]), ...summary(i, state, chosen));
    if (chosen && other && narrow.matches) panel.scrollIntoView({ block: "nearest" });
    await more(i, state, key, chosen);
    panel.dataset.milliseconds = (performance.now() - began).toFixed(1);
  }

  function summary(i, state, chosen) {
    const nodes = state.facts.nodes, parts = [], at = { node: nodes.id[i] };
    const title = element("h2", `${short(i)} · ${nodes.operator[i]}`);
    title.title = nodes.id[i];
    if (chosen) title.dataset.node = nodes.id[i]; // the buttons that steer take it over
    const bar = element("p", undefined, "controls"), to = (words, changes) => bar.append(Object.assign(element("a", words), { href: address({ ...at, ...changes }) }));
    if (chosen) bar.append(button("Close", () => Treewright.go({ node: null })));
    to("in the tree", { view: "tree" });
    if (state.facts.has_curves) to("its curve", { view: "curves", nodes: together(state, i) });
    if (Treewright.views.has("compare")) to("compare", { view: "compare", nodes: together(state, i) });
    parts.push(title, bar, element("p", nodes.idea[i], "idea"));
    if (nodes.suspect[i]) parts.push(element("p", `Ranked out: ${nodes.suspect[i]}`, "suspect"));
    parts.push(outcome(i, state), element("p", cost(i, nodes), "quiet"));
    for (const [name, some] of [["parents", nodes.parents[i]], ["children", state.children[i]]]) if (some.length) parts.push(relatives(name, some));
    return parts;
  }

  const together = (state, i) => [...new Set([...state.nodes, i])].map((each) => state.facts.nodes.id[each]).join(",");

  function outcome(i, { facts: { nodes, run } }) {
    if (nodes.score[i] === null) return element("p", `${nodes.state[i]}${nodes.reason[i] ? ": " + nodes.reason[i] : ""}`, nodes.state[i] === "waiting" ? "" : "bad");
    const against = nodes.gain[i] === null ? "" : `; ${signed(nodes.gain[i])} against its better parent`;
    return element("p", `${number(nodes.score[i])} ${run.unit} on val, mean of ${many(nodes.runs[i], "run")}${against}`);
  }

  function cost(i, nodes) {
    const tokens = nodes.tokens[i] ? [`${nodes.tokens[i].toLocaleString("en")} tokens`, nodes.dollars[i] === null ? "price unknown" : `$${nodes.dollars[i].toFixed(4)}`] : [];
    return [`${number(nodes.seconds[i] ?? 0, 3)} s of compute in ${many(nodes.evaluations[i] ?? 0, "run")}`, ...tokens, many(nodes.lines[i], "line")].join(" · ");
  }

  function relatives(name, some) {
    const row = element("p", name + " ", "quiet");
    some.slice(0, RELATIVES).forEach((i) => row.append(link(i), " "));
    if (some.length > RELATIVES) row.append(`and ${some.length - RELATIVES} more`);
    return row;
  }

  async function more(i, state, key, chosen) {
    const panel = $("node");
    let found;
    try { found = await Treewright.source.detail(i); } catch (error) { panel.append(element("p", String(error), "bad")); return; }
    if (shown !== key) return;
    if (found.curve.length > 1) panel.append(element("h3", "Its loss (reported by the candidate)"), curve(i, found.curve));
    if (found.evaluations.length) panel.append(element("h3", "Evaluations"), table(found.evaluations, ["purpose", "outcome", "score", "seconds", "wall", "steps", "memory_mb", "seed", "trust"]));
    if (found.cases.length) panel.append(element("h3", "Scores by case"), table(found.cases, ["case", ...(found.cases.some((each) => each.ending) ? ["ending"] : []), "value", "best", "gain", ...(found.cases.some((each) => each.feedback) ? ["feedback"] : [])]));
    if (found.certificate) panel.append(element("h3", "Certificate"), element("pre", found.certificate));
    for (const evaluation of found.evaluations) if (evaluation.reason) panel.append(element("p", `${evaluation.outcome}: ${evaluation.reason}`, "idea bad"));
    if (found.diff) panel.append(element("h3", "Diff to its first parent"), diff(found.diff));
    for (const evaluation of found.evaluations) if (evaluation.log.trim()) panel.append(element("h3", "End of the log"), element("pre", evaluation.log));
    if (!narrow.matches) panel.scrollTop = 0;
    if (chosen) panel.dataset.shown = state.facts.nodes.id[i];
  }

  // Return a diff with its added and removed lines marked.
  function diff(text) {
    const made = element("pre");
    made.tabIndex = 0;
    for (const line of text.split("\n")) made.append(element("span", line, line.startsWith("@@") ? "at" : line.startsWith("+") ? "add" : line.startsWith("-") ? "del" : ""));
    return made;
  }

  function curve(i, points) {
    const around = element("div", undefined, "small"), known = points.filter((point) => Number.isFinite(point[1]));
    const last = known[known.length - 1];
    // The frame needs a size before the chart is drawn, so the panel holds it first.
    $("node").append(around);
    chart(around, () => ({ grid: { left: 48, right: 12, top: 8, bottom: 38 }, xAxis: { type: "value", name: "seconds", nameGap: 20 }, yAxis: { type: "value", scale: true }, tooltip: { trigger: "axis" }, series: [{ type: "line", name: "loss", data: known, showSymbol: false, lineStyle: { width: 1.5, color: colour("link") } }] }),
      { label: `Loss of ${short(i)} by seconds`, text: last ? `From ${number(known[0][1])} to ${number(last[1])} after ${number(last[0], 3)} s.` : "No finite loss." });
    return around;
  }

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || $("node").hidden) return;
    Treewright.go({ node: null });
    if (focus && focus.isConnected) focus.focus();
  });
  document.addEventListener("focusin", (event) => { if (!$("node").contains(event.target)) focus = event.target; });
  narrow.addEventListener("change", () => { show(Treewright.state()); if (!$("node").hidden) place(); });

  return { show, diff, together, narrow };
})());
