"use strict";
// Failures: evaluations without a score, grouped by outcome and reason, with their candidates.
(() => {
  const { bars: sized, chart, colour, element, link, load, many, position, section, steady, table } = Treewright;

  function draw(root, { facts }) {
    const counts = facts.failures;
    if (!counts.length) { root.append(section("Failures", "No evaluation has failed.")); return; }
    const around = section("Failures", "Screenings without a score. A program over a limit, or one that crashes, is a failure and no cheat.");
    root.append(around);
    sized(chart(around, () => option(counts), { label: "Failed screenings by outcome", text: `${counts.map((row) => `${row.outcome}: ${row.count.toLocaleString("en")}`).join("; ")}.` }), counts.length);
    load(root, ["failures"], (place, found) => {
      if (!found) { place.append(section("By reason", "", table(counts))); return; }
      const rest = found.groups > found.rows.length ? ` The ${found.rows.length} largest of ${found.groups.toLocaleString("en")} groups.` : "";
      place.append(section("By reason", `${many(found.failures, "failure")}; reasons that differ in numbers alone are one group, shown by its latest.${rest}`, ...found.rows.map(group)));
    });
  }

  const option = (counts) => ({
    grid: { left: 10, right: 50, top: 8, bottom: 30, containLabel: true },
    xAxis: { type: "value", minInterval: 1, name: "screenings" }, yAxis: { type: "category", inverse: true, data: counts.map((row) => row.outcome) },
    series: [{ type: "bar", data: counts.map((row) => row.count), barMaxWidth: 24, itemStyle: { color: colour("bad") }, label: { show: true, position: "right", color: colour("ink") } }],
  });

  function group(row) {
    const made = element("div", undefined, "group"), nodes = element("p", `${many(row.candidates, "candidate")}: `, "quiet"), known = row.nodes.map(position).filter((i) => i >= 0);
    for (const i of known) nodes.append(link(i), " ");
    if (row.candidates > known.length) nodes.append(`and ${(row.candidates - known.length).toLocaleString("en")} more`);
    const heading = element("h3", `${row.count.toLocaleString("en")} × ${row.outcome}`);
    made.append(heading, element("p", `by ${row.operators}`, "quiet"), element("p", row.reason || "no reason was given", "idea"), nodes);
    return made;
  }

  Treewright.view({ name: "failures", title: "Failures", ...steady(draw), available: (facts) => facts.failures.length > 0 });
})();
