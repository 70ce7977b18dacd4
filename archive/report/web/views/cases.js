"use strict";
// Cases: scores of nodes by case as a heat map, and the best node beside the seed program.
(() => {
  const { chart, colour, cut, element, go, kind, link, load, many, number, position, section, short, signed, steady, table } = Treewright;
  const WIDE = 18, WIDEST = 90; // pixels of a cell, at least (the map scrolls sideways) and at most

  function draw(root, now) {
    load(root, ["cases"], (place, found) => found && found.nodes.length && place.append(heat(found, now)));
    const { cases, verdict } = now.facts, who = verdict?.kind === "champion" ? "the champion" : "the leader", shown = cases.count > cases.rows.length ? ` (${cases.rows.length} of ${cases.count})` : "";
    if (cases.count) root.append(section("Best against the seed program", `Screening scores of ${who} against the seed program by case of val, the smallest gains first${shown}: better on ${cases.better}, worse on ${cases.worse} of ${cases.count} cases.`, table(cases.rows)));
  }

  // Return the gains of each node on the first one by case: {gain, share of the largest in its case}; null without a value.
  function gains({ values }, sign) {
    const root = values[0], most = root.map((base, k) => values.reduce((top, row) => row[k] === null || base === null ? top : Math.max(top, Math.abs(row[k] - base)), 0));
    return values.map((row) => row.map((value, k) => value === null || root[k] === null ? null : { gain: sign * (value - root[k]), share: most[k] ? sign * (value - root[k]) / most[k] : 0 }));
  }

  function heat(found, now) {
    const sign = now.facts.run.direction === "minimise" ? -1 : 1, against = gains(found, sign), places = found.nodes.map(position), names = places.map((i, k) => i < 0 ? found.nodes[k].slice(0, 8) : short(i));
    const left = [[found.all_nodes, found.nodes.length, "candidate"], [found.all_cases, found.cases.length, "case"]].filter(([all, some]) => all > some).map(([all, some, word]) => `${some} of ${many(all, word)}`);
    const rule = left.length ? ` Shown: ${left.join(" and ")}; the root, the best lineage and the best others, and the cases in which they differ most.` : "";
    const made = section("Scores by case", `A row is a candidate, the first the seed program; a column is a case. Blue is better than the seed program and orange worse, by the share of the case's largest difference.${rule}`);
    const around = element("div", undefined, "scroll"), inner = element("div");
    inner.style.minWidth = `${found.cases.length * WIDE + 110}px`;
    inner.style.maxWidth = `${found.cases.length * WIDEST + 110}px`;
    around.tabIndex = 0;
    around.append(inner);
    made.append(around);
    const plot = chart(inner, () => option(found, against, names), { label: "Scores of candidates by case", text: said(found, against, names), rows: () => rows(found, places), click: ({ value }) => places[value[1]] >= 0 && go({ node: found.nodes[value[1]] }) });
    for (const below of [plot.words, ...plot.figure.querySelectorAll("details")]) made.append(below); // they do not scroll with the map
    plot.frame.style.height = `${Math.max(160, 90 + found.nodes.length * 18)}px`;
    return made;
  }

  function option({ cases, values }, against, names) {
    const cells = values.flatMap((row, y) => row.map((value, x) => ({ value: [x, y, against[y][x]?.share ?? 0], known: value !== null })).filter((cell) => cell.known));
    const longest = Math.max(...cases.map((name) => name.length)), turned = cases.length * longest > 40, deep = turned ? 16 + 6 * Math.min(14, longest) : 24;
    return {
      grid: { left: 76, right: 12, top: 10, bottom: deep + 20 },
      xAxis: { type: "category", data: cases, name: "case", nameGap: deep, splitLine: { show: false }, axisLabel: { rotate: turned ? 60 : 0, formatter: (name) => cut(name, 14) } }, yAxis: { type: "category", data: names, inverse: true, axisLabel: { fontFamily: "ui-monospace, monospace", fontSize: 11 } },
      visualMap: { show: false, min: -1, max: 1, dimension: 2, inRange: { color: [kind(3), colour("shade"), kind(0)] } },
      tooltip: { formatter: ({ value: [x, y] }) => `${names[y]}, ${cases[x]}: ${number(values[y][x])}\n${signed(against[y][x]?.gain)} against the seed program` },
      series: [{ type: "heatmap", data: cells, itemStyle: { borderWidth: 1, borderColor: colour("line") }, emphasis: { itemStyle: { borderColor: colour("ink"), borderWidth: 2 } } }],
    };
  }

  function said({ nodes, cases }, against, names) {
    const better = against.map((row) => row.filter((cell) => cell && cell.gain > 0).length), best = better.indexOf(Math.max(...better));
    const never = cases.filter((_, k) => !against.some((row) => row[k] && row[k].gain > 0)).length;
    if (nodes.length < 2) return "Only the seed program has scores by case.";
    return `${names[best]} is better than the seed program on the most cases, ${better[best]} of ${cases.length}. In ${never} of the ${cases.length} cases no shown candidate is better.`;
  }

  const rows = ({ cases, values, nodes }, places) => nodes.map((id, y) => Object.fromEntries([["candidate", places[y] < 0 ? id.slice(0, 8) : link(places[y])], ...cases.map((name, x) => [name, values[y][x]])]));

  Treewright.view({ name: "cases", title: "Cases", ...steady(draw), available: (facts) => facts.cases.count > 1 });
})();
