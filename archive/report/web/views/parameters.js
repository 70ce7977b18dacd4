"use strict";
// Parameters: which matter, how they go together, and the score against one of them.
(() => {
  const { bars: sized, button, chart, choice, colour, cut, element, go, kind, link, load, many, number, position, section, shades, short, signed, steady, table } = Treewright;
  const AXES = 8, NARROW = 4;
  let open = false; // whether the list of axes is
  let applied = null; // the axes that are drawn, as the address has them

  function draw(root, now) {
    load(root, ["parameters"], (place, found) => {
      if (!found) { place.append(section("Parameters", "Programs are read by a part of this project that is not installed here. Install the project anew, with pip install -e . in its folder.")); return; }
      if (!found.columns.length) { place.append(section("Parameters", "No parameter has two values among the scored candidates.")); return; }
      place.append(importance(found, now));
      const known = { ...found, places: found.nodes.map(position), order: found.nodes.map((_, k) => k).filter((k) => position(found.nodes[k]) >= 0) };
      parallel(place, known, now);
      slices(place, known, now);
    });
  }

  const title = ({ columns }, k) => columns.some((one, other) => other !== k && one.name === columns[k].name) ? `${columns[k].file}: ${columns[k].name}` : columns[k].name;
  const scoreOf = ({ places }, k, { facts }) => places[k] < 0 ? null : facts.nodes.score[places[k]];

  // ------------------------------------------------------------ importance

  function importance({ effects }, now) {
    if (!effects) return section("Importance", "Too few scored programs have the code of the best candidate. python -m search ablate measures instead.");
    const at = position(effects.node), changed = effects.code_changed ? " Changes of the code are not judged." : "";
    const made = section("Importance", `What each parameter of the best candidate gains over its value in the seed program, in deviations of the scores, estimated from ${many(effects.programs, "program")} of the same code (as python -m search explain does).${changed}`);
    if (at >= 0) made.append(element("span", "Best candidate: ", "quiet"), link(at));
    if (!effects.rows.length) { made.append(element("p", "It differs from the seed program in no parameter.")); return made; }
    sized(chart(made, () => bars(effects.rows), { label: "Gain by parameter", text: `${effects.rows.slice(0, 8).map((row) => `${row.name} ${number(row.seed_value)} to ${number(row.value)}: ${signed(row.gain)} ± ${number(row.deviation, 2)}, ${row.verdict}`).join("; ")}.` }), effects.rows.length);
    made.append(table(effects.rows.map((row) => ({ parameter: row.name, "seed value": row.seed_value, value: row.value, gain: row.gain, deviation: row.deviation, verdict: row.verdict }))));
    return made;
  }

  function bars(rows) {
    return {
      grid: { left: 10, right: 24, top: 8, bottom: 30, containLabel: true },
      xAxis: { type: "value", name: "gain, in deviations of the scores", axisLabel: { formatter: (value) => number(value, 2) } }, yAxis: { type: "category", inverse: true, data: rows.map((row) => cut(row.name, 28)) },
      tooltip: { formatter: ({ dataIndex }) => { const row = rows[dataIndex]; return `${row.name}: ${number(row.seed_value)} → ${number(row.value)}\n${signed(row.gain)} ± ${number(row.deviation, 2)}: ${row.verdict}`; } },
      series: [
        { type: "bar", barMaxWidth: 20, data: rows.map((row) => ({ value: row.gain, itemStyle: { color: row.verdict === "not clear" ? colour("dot") : row.gain > 0 ? kind(0) : kind(3) } })) },
        { type: "custom", silent: true, z: 3, encode: { x: [0, 1], y: 2 }, data: rows.map((row, k) => [row.gain - row.deviation, row.gain + row.deviation, k]), renderItem: (_, api) => whisker(api) },
      ],
    };
  }

  function whisker(api) {
    const [x1, y] = api.coord([api.value(0), api.value(2)]), [x2] = api.coord([api.value(1), api.value(2)]);
    return { type: "line", shape: { x1, y1: y, x2, y2: y }, style: { stroke: colour("ink"), lineWidth: 1.5 } };
  }

  // ------------------------------------------------------------ parallel coordinates

  function parallel(place, found, now) {
    const { facts: { run } } = now, shown = found.order.filter((k) => scoreOf(found, k, now) !== null), scores = shown.map((k) => scoreOf(found, k, now));
    const ranks = [...shown.keys()].sort((a, b) => (run.direction === "minimise" ? 1 : -1) * (scores[b] - scores[a])), rank = new Map(ranks.map((k, r) => [k, r / Math.max(1, ranks.length - 1)]));
    const made = section("Parallel coordinates", `A line is a candidate; the last axis is its score, the better end on top. ${Treewright.dark() ? "Violet lines are the worst, then blue, green and yellow, the best" : "Olive lines are the worst, then green, blue and violet, the best"}.`);
    const bar = element("div"), rest = element("p", "", "quiet"), holder = element("div");
    made.append(bar, rest, holder);
    place.append(made);
    let axes = chosenAxes(found, now.params);
    paint();

    function change(next) {
      const pressed = document.activeElement?.dataset.press;
      axes = next;
      applied = axes.map((a) => encodeURIComponent(title(found, a))).join(",");
      go({ axes: applied }, { replace: true });
      paint();
      bar.querySelector(`[data-press="${CSS.escape(pressed ?? "")}"]`)?.focus();
    }

    function paint() {
      bar.replaceChildren(axesBar(found, axes, change));
      const all = found.columns.length + found.left_out, left = [all > axes.length ? `${axes.length} of ${all} parameters with several values` : "", found.scored > shown.length ? `${shown.length} of ${many(found.scored, "scored candidate")}: the best and the latest` : ""].filter(Boolean);
      rest.textContent = left.length ? `Shown: ${left.join("; ")}.` : "";
      holder.replaceChildren();
      chart(holder, () => lines(found, axes, shown, scores, rank, now), {
        label: "Parameters and score of each candidate", text: together(found, axes, shown, scores, rank),
        rows: () => shown.slice(0, 200).map((k, n) => Object.fromEntries([["candidate", link(found.places[k])], ...axes.map((a) => [title(found, a), found.values[a][k]]), ["score", scores[n]]])),
        click: ({ data }) => data?.place !== undefined && go({ node: now.facts.nodes.id[data.place] }),
      });
    }
  }

  // Return the axes that the address names, else the first ones: as many as there is room for.
  function chosenAxes(found, params) {
    const named = (params.get("axes") || "").split(",").map(decoded), columns = found.columns.map((_, k) => k);
    const some = [...new Set(named.map((name) => columns.find((k) => title(found, k) === name)).filter((k) => k !== undefined))];
    return some.length ? some : columns.slice(0, Treewright.narrow?.matches ? NARROW : AXES);
  }

  function decoded(text) {
    try { return decodeURIComponent(text); } catch { return ""; }
  }

  // Return the list of axes in their order, each with buttons that move it or take it away, and a choice that adds one.
  function axesBar(found, axes, change) {
    const around = element("details", undefined, "columns"), list = element("ol", undefined, "axes"), others = found.columns.map((_, k) => k).filter((k) => !axes.includes(k));
    around.open = open;
    around.addEventListener("toggle", () => { open = around.open; });
    axes.forEach((a, place) => {
      const item = element("li"), name = title(found, a), moved = (to) => { const next = axes.filter((each) => each !== a); next.splice(to, 0, a); return next; };
      const press = (sign, words, off, next) => { const made = Object.assign(button(sign, () => change(next())), { ariaLabel: `${words} ${name}`, title: `${words} ${name}`, disabled: off }); made.dataset.press = `${words} ${name}`; return made; };
      item.append(press("↑", "move to the left:", place === 0, () => moved(place - 1)), press("↓", "move to the right:", place === axes.length - 1, () => moved(place + 1)), press("✕", "remove", axes.length === 1, () => axes.filter((each) => each !== a)), ` ${name}`);
      list.append(item);
    });
    around.append(element("summary", "Axes"), list);
    if (others.length) around.append(choice("add", [["", "an axis"], ...others.map((k) => [String(k), title(found, k)])], "", (value) => value && change([...axes, Number(value)])));
    return around;
  }

  function logarithmic(values) {
    const known = values.filter((value) => value !== null);
    return known.length > 0 && known.every((value) => value > 0) && Math.max(...known) / Math.min(...known) > 50;
  }

  function lines(found, axes, shown, scores, rank, { facts: { run } }) {
    const some = shades(), text = { color: colour("ink") }, quiet = { color: colour("quiet"), fontSize: 11 };
    const one = (dim, name, values, more) => ({ dim, name: cut(name, 16), type: logarithmic(values) ? "log" : "value", scale: true, nameTextStyle: text, axisLabel: { ...quiet, textBorderColor: colour("paper"), textBorderWidth: 3, formatter: (value) => number(value, 3) }, axisLine: { lineStyle: { color: colour("quiet") } }, axisTick: { lineStyle: { color: colour("quiet") } }, ...more });
    const order = [...shown.keys()].sort((a, b) => rank.get(a) - rank.get(b));
    return {
      parallel: { left: 44, right: 64, top: 34, bottom: 22 },
      parallelAxis: [...axes.map((a, dim) => one(dim, title(found, a), found.values[a])), one(axes.length, run.unit || run.metric, [], run.direction === "minimise" ? { inverse: true, nameLocation: "start" } : {})],
      tooltip: { formatter: ({ data }) => data ? `${short(data.place)}: ${number(data.value.at(-1))}\n${axes.map((a, k) => `${title(found, a)} ${number(data.value[k] === "-" ? null : data.value[k])}`).join("\n")}` : "" },
      series: [{ type: "parallel", smooth: false, progressive: 0, lineStyle: { width: 1.2, opacity: 1 }, emphasis: { lineStyle: { width: 3, opacity: 1 } }, data: order.map((n) => ({ place: found.places[shown[n]], value: [...axes.map((a) => found.values[a][shown[n]] ?? "-"), scores[n]], lineStyle: { color: some[Math.min(some.length - 1, Math.floor(rank.get(n) * some.length))] } })) }],
    };
  }

  // Say in which part of each axis the best tenth of the candidates lies.
  function together(found, axes, shown, scores, rank) {
    const best = [...shown.keys()].filter((n) => rank.get(n) >= 0.9);
    if (!best.length) return "No candidate with a score has these parameters.";
    const spans = axes.map((a) => { const values = best.map((n) => found.values[a][shown[n]]).filter((value) => value !== null); return values.length ? `${title(found, a)} ${number(Math.min(...values))} to ${number(Math.max(...values))}` : ""; });
    return `The best tenth of the candidates (${best.length}) has ${spans.filter(Boolean).join(", ")}.`;
  }

  // ------------------------------------------------------------ slices

  function slices(place, found, now) {
    const named = now.params.get("parameter"), first = Math.max(0, found.columns.findIndex((_, k) => title(found, k) === named));
    const made = section("One parameter"), bar = element("p", undefined, "controls"), holder = element("div");
    let at = first;
    bar.append(choice("score against", found.columns.map((_, k) => [String(k), title(found, k)]), String(first), (value) => { at = Number(value); paint(); }));
    made.append(bar, holder);
    place.append(made);
    function paint() {
      const points = found.order.map((k) => [found.values[at][k], scoreOf(found, k, now), found.places[k]]).filter(([value, score]) => value !== null && score !== null), name = title(found, at);
      holder.replaceChildren();
      chart(holder, () => slice(points, name, now), { label: `Score by ${name}`, text: slope(points, name, now), rows: () => points.slice(0, 400).map(([value, score, i]) => ({ candidate: link(i), [name]: value, score })), click: ({ data }) => data?.[2] !== undefined && go({ node: now.facts.nodes.id[data[2]] }) });
    }
    paint();
  }

  function slice(points, name, { facts: { nodes, run, range }, leader }) {
    const log = logarithmic(points.map(([value]) => value)), inside = (score) => Math.min(range[1], Math.max(range[0], score));
    const data = points.map(([value, score, i]) => [value, inside(score), i]);
    return {
      grid: { left: 62, right: 20, top: 26, bottom: 44 }, xAxis: { type: log ? "log" : "value", scale: true, name: cut(name, 40), axisLabel: { formatter: (value) => number(value, 3) } }, yAxis: { type: "value", name: run.unit || run.metric, nameLocation: "end", nameGap: 10, min: range[0], max: range[1] },
      tooltip: { formatter: ({ data: [value, , i] }) => `${short(i)} ${nodes.operator[i]}: ${number(nodes.score[i])}\n${name} ${number(value)}` },
      series: [{ type: "scatter", symbolSize: 8, itemStyle: { color: colour("dot") }, data }, { type: "scatter", symbolSize: 13, z: 4, itemStyle: { color: colour("best") }, data: data.filter(([, , i]) => i === leader) }],
    };
  }

  function slope(points, name, { facts: { run } }) {
    if (points.length < 2) return `${many(points.length, "candidate")} with ${name}.`;
    const better = [...points].sort((a, b) => (run.direction === "minimise" ? 1 : -1) * (a[1] - b[1])), tenth = better.slice(0, Math.max(1, Math.round(points.length / 10))).map(([value]) => value);
    return `${many(points.length, "candidate")} with ${name} from ${number(Math.min(...points.map(([value]) => value)))} to ${number(Math.max(...points.map(([value]) => value)))}; the best tenth has ${number(Math.min(...tenth))} to ${number(Math.max(...tenth))}. A dot is a candidate, at the edge if out of range; green is the best one.`;
  }

  // The axes change their own chart: nothing else is drawn anew for them.
  const without = ({ params }) => { const rest = new URLSearchParams(params); rest.delete("axes"); rest.delete("node"); return rest.toString(); };
  let seen = null;
  const begun = (root, now) => { seen = without(now); applied = now.params.get("axes"); draw(root, now); };
  const moved = (root, now) => seen === without(now) && now.params.get("axes") === applied;

  Treewright.view({ name: "parameters", title: "Parameters", ...steady(begun, moved), available: (facts) => facts.nodes.id.length > 0 });
})();
